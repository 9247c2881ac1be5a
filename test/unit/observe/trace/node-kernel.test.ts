/** Where the kernels of nodes lose frames: their devices, and the rules of other programs' firewalls. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../../../../native-free-dataplane/protocols.ts';
import { readFirewall } from '../../../../src/observe/trace/node-firewall.ts';
import { lossAtKernels, type NodeKernel, type Way } from '../../../../src/observe/trace/node-kernel.ts';

const test = suite('kernels of nodes');

const chain = (family: string, name: string, hook: string | undefined, more: object = {}) => ({
  chain: { family, table: 'site', name, ...(hook && { hook, prio: -500, policy: 'accept' }), ...more },
});
const rule = (family: string, name: string, ...expr: object[]) => ({
  rule: { family, table: 'site', chain: name, expr },
});
const match = (left: object, right: unknown, op = '==') => ({ match: { op, left, right } });
const payload = (protocol: string, field: string) => ({ payload: { protocol, field } });
const DROP = { drop: null };

const VXLAN = { src: '172.18.0.12', dst: '172.18.0.11', protocol: PROTOCOL_UDP, srcPort: 50_000, dstPort: 4789 };
const WEB = { src: '172.18.0.1', dst: '172.18.0.11', protocol: PROTOCOL_TCP, srcPort: 40_000, dstPort: 31_418 };

/** What is lost at node n1 with these objects of nft's list. */
function loss(objects: readonly object[], way: Way, packet: typeof VXLAN, more: Partial<NodeKernel> = {}) {
  const chains = readFirewall(JSON.stringify({ nftables: objects }), 'dataplane');
  const kernel: NodeKernel = { device: { name: 'eth0', isUp: true }, chains, hasShortcut: true, ...more };
  return lossAtKernels(new Map([['n1', kernel]]), 'dp0')('n1', way, packet);
}

test('a device that is down, and an address that no device has, lose every frame of the wire', () => {
  assert.is(loss([], 'in', VXLAN), undefined);
  assert.is(loss([], 'in', VXLAN, { device: { name: 'eth0', isUp: false } }), 'eth0 of node n1 is down');
  assert.is(loss([], 'own', VXLAN, { device: { name: 'eth0', isUp: false } }), undefined);
  assert.is(loss([], 'out', VXLAN, { device: undefined }), 'no device of node n1 has its address');
  assert.is(lossAtKernels(new Map(), 'dp0')('elsewhere', 'in', VXLAN), undefined);
});

test('the rule that drops is named; sets, ranges and networks are compared', () => {
  const matches = [
    match(payload('udp', 'dport'), 4789),
    match(payload('udp', 'dport'), { set: [53, { range: [4000, 5000] }] }),
    match(payload('th', 'dport'), { range: [4789, 4789] }),
    match(payload('ip', 'saddr'), { prefix: { addr: '172.18.0.0', len: 24 } }),
    match({ meta: { key: 'l4proto' } }, 'udp'),
    match({ meta: { key: 'iifname' } }, 'eth*'),
    match(payload('ip', 'daddr'), '172.18.0.12', '!='),
  ];
  for (const one of matches) {
    const objects = [chain('netdev', 'a', 'ingress'), rule('netdev', 'a', one, { counter: {} }, DROP)];
    assert.match(
      loss(objects, 'in', VXLAN) ?? '',
      /^the firewall of node n1 drops it: .* drop \(chain netdev site a\)$/,
    );
  }
  const others = [
    match(payload('tcp', 'dport'), 4789),
    match(payload('udp', 'dport'), 53),
    match(payload('ip', 'saddr'), { prefix: { addr: '10.0.0.0', len: 8 } }),
    match(payload('ip6', 'saddr'), 'fd00::1'),
    match({ meta: { key: 'iifname' } }, 'wg0'),
  ];
  for (const one of others) {
    assert.is(loss([chain('netdev', 'a', 'ingress'), rule('netdev', 'a', one, DROP)], 'in', VXLAN), undefined);
  }
});

test('nothing is claimed where a match is not understood, and an earlier rule that accepts ends the search', () => {
  const ours = match(payload('udp', 'dport'), 4789);
  const unknown = match({ ct: { key: 'state' } }, 'new');
  const lossWith = (...rules: object[]) => loss([chain('netdev', 'a', 'ingress'), ...rules], 'in', VXLAN);
  assert.is(lossWith(rule('netdev', 'a', ours, unknown, DROP)), undefined);
  assert.is(lossWith(rule('netdev', 'a', unknown, { accept: null }), rule('netdev', 'a', ours, DROP)), undefined);
  assert.is(lossWith(rule('netdev', 'a', ours, { accept: null }), rule('netdev', 'a', DROP)), undefined);
  assert.match(lossWith(rule('netdev', 'a', ours, { return: null }), rule('netdev', 'a', DROP)) ?? 'none', /none/);
  assert.match(lossWith(rule('netdev', 'a', { log: null }, DROP)) ?? '', /drops it: drop/);
});

test('jumps are followed, and a policy that drops is named', () => {
  const called = [
    chain('netdev', 'a', 'ingress'),
    chain('netdev', 'wall', undefined),
    rule('netdev', 'a', { jump: { target: 'wall' } }),
    rule('netdev', 'wall', match(payload('udp', 'dport'), 4789), DROP),
  ];
  assert.match(loss(called, 'in', VXLAN) ?? '', /chain netdev site wall/);
  assert.is(
    loss([chain('netdev', 'a', 'ingress', { policy: 'drop' })], 'in', VXLAN),
    'the firewall of node n1 drops it: the policy of chain netdev site a is drop',
  );
  const loop = [chain('netdev', 'a', 'ingress'), rule('netdev', 'a', { jump: { target: 'a' } })];
  assert.is(loss(loop, 'in', VXLAN), undefined, 'a loop ends');
});

test('only chains that the packet passes count', () => {
  const at = (family: string, hook: string, more: object = {}) => [
    chain(family, 'a', hook, more),
    rule(family, 'a', match(payload('ip', 'daddr'), '172.18.0.11'), DROP),
  ];
  assert.ok(loss(at('netdev', 'ingress', { dev: 'eth0' }), 'in', WEB));
  assert.is(loss(at('netdev', 'ingress', { dev: 'dp0' }), 'in', WEB), undefined);
  assert.is(loss(at('netdev', 'ingress', { prio: 10 }), 'in', WEB), undefined, 'our rules forward it before');
  assert.is(loss(at('ip', 'prerouting'), 'in', WEB), undefined, 'the shortcut passes it by');
  assert.ok(loss(at('ip', 'prerouting'), 'in', WEB, { hasShortcut: false }));
  assert.ok(loss(at('ip', 'forward'), 'out', WEB, { hasShortcut: false }));
  assert.ok(loss(at('ip', 'output'), 'own', WEB));
  assert.is(loss(at('ip', 'input'), 'in', WEB), undefined);
  const ours = [{ chain: { family: 'netdev', table: 'dataplane', name: 'x', hook: 'ingress', policy: 'drop' } }];
  assert.is(loss(ours, 'in', WEB), undefined);
});

test.run();
