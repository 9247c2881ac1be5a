/** What is recognised as another service proxy, and as another network plugin. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { pluginConflicts, proxyOf } from '../../../../src/agent/footprint/conflicts.ts';

const chain = (name: string): string =>
  `{"nftables": [{"chain": {"family": "ip", "table": "nat", "name": "${name}", "handle": 1}}]}`;

test('kube-proxy is recognised in each of its modes', () => {
  assert.match(proxyOf(chain('KUBE-SERVICES'), '', []) ?? '', /iptables, chain KUBE-SERVICES/);
  assert.match(proxyOf('', '*nat\n:KUBE-NODEPORTS - [0:0]\nCOMMIT\n', []) ?? '', /iptables, chain KUBE-NODEPORTS/);
  const table = '{"nftables": [{"table": {"family": "ip", "name": "kube-proxy", "handle": 3}}]}';
  assert.match(proxyOf(table, '', []) ?? '', /nftables, table kube-proxy/);
  assert.match(proxyOf('', '', [{ ifname: 'kube-ipvs0' }]) ?? '', /IPVS, device kube-ipvs0/);
});

test('the chains that kubelet makes are not kube-proxy’s', () => {
  for (const name of ['KUBE-KUBELET-CANARY', 'KUBE-FIREWALL', 'KUBE-MARK-MASQ']) {
    assert.is(proxyOf(chain(name), `*filter\n:${name} - [0:0]\nCOMMIT\n`, [{ ifname: 'eth0' }]), undefined, name);
  }
});

test('a plugin whose configuration runtimes find first is in the way, others are not', () => {
  const found = pluginConflicts(
    ['00-loopback.txt', '04-calico.conflist', '05-dataplane.conflist', '10-flannel.conflist'],
    '/d',
  );
  assert.equal(found.length, 1);
  assert.match(found[0] as string, /^\/d\/04-calico\.conflist comes before 05-dataplane\.conflist/);
});

test.run();
