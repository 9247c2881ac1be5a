/** Which rules are kube-proxy's, and the commands that remove these and no others. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { proxyRulesIn, proxyRulesSaved } from '../../../../src/agent/takeover/proxy-rules.ts';

const chain = (name: string, more: object = {}) => ({ chain: { family: 'ip', table: 'nat', name, ...more } });
const jump = (from: string, handle: number, target: string, how = 'jump') => ({
  rule: { family: 'ip', table: 'nat', chain: from, handle, expr: [{ counter: null }, { [how]: { target } }] },
});
const ruleset = (...nftables: object[]): string => JSON.stringify({ nftables });

test('of iptables-nft: the chains, and the rules of others that lead to them; not kubelet’s and not those of others', () => {
  const { rules, commands } = proxyRulesIn(
    ruleset(
      { table: { family: 'ip', name: 'nat' } },
      chain('PREROUTING', { hook: 'prerouting' }),
      ...['KUBE-SERVICES', 'KUBE-SVC-ABC', 'KUBE-SEP-DEF', 'KUBE-KUBELET-CANARY', 'KUBE-FIREWALL', 'DOCKER'].map(
        (name) => chain(name),
      ),
      jump('PREROUTING', 4, 'KUBE-SERVICES'),
      jump('PREROUTING', 5, 'DOCKER'),
      jump('PREROUTING', 6, 'KUBE-SVC-ABC', 'goto'),
      jump('KUBE-SERVICES', 7, 'KUBE-SVC-ABC'),
      { table: { family: 'ip', name: 'filter' } },
    ),
  );
  assert.equal(rules, [{ table: 'ip nat', whole: false, chains: 3, jumps: 2 }]);
  assert.equal(commands.trim().split('\n'), [
    'delete rule ip nat PREROUTING handle 4',
    'delete rule ip nat PREROUTING handle 6',
    ...['KUBE-SERVICES', 'KUBE-SVC-ABC', 'KUBE-SEP-DEF'].map((name) => `flush chain ip nat ${name}`),
    ...['KUBE-SERVICES', 'KUBE-SVC-ABC', 'KUBE-SEP-DEF'].map((name) => `delete chain ip nat ${name}`),
  ]);
});

test('of nftables: its own tables as a whole', () => {
  const { rules, commands } = proxyRulesIn(
    ruleset({ table: { family: 'ip', name: 'kube-proxy' } }, { table: { family: 'ip6', name: 'kube-proxy' } }),
  );
  assert.equal(
    rules.map(({ whole }) => whole),
    [true, true],
  );
  assert.is(commands, 'delete table ip kube-proxy\ndelete table ip6 kube-proxy\n');
});

test('of iptables-legacy: as input of iptables-restore', () => {
  const saved = `*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-ABC - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -j DOCKER
-A KUBE-SERVICES -d 10.96.0.1/32 -j KUBE-SVC-ABC
COMMIT
*mangle
:KUBE-IPTABLES-HINT - [0:0]
COMMIT
`;
  const { rules, commands } = proxyRulesSaved(saved, 'iptables-legacy');
  assert.equal(rules, [{ table: 'iptables-legacy nat', whole: false, chains: 2, jumps: 1 }]);
  assert.equal(commands.trim().split('\n'), [
    '*nat',
    ':KUBE-SERVICES - [0:0]',
    ':KUBE-SVC-ABC - [0:0]',
    '-D PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
    '-X KUBE-SERVICES',
    '-X KUBE-SVC-ABC',
    'COMMIT',
  ]);
});

test('without any, nothing is done', () => {
  for (const none of ['', ruleset({ table: { family: 'ip', name: 'nat' } }, chain('DOCKER'))]) {
    assert.equal(proxyRulesIn(none), { rules: [], commands: '' });
  }
  assert.equal(proxyRulesSaved('', 'iptables-legacy'), { rules: [], commands: '' });
});

test.run();
