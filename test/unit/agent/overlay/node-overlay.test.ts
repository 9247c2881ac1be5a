/** Every overlay of the pipeline has a counterpart in the agent, which routes exactly its packets to dp0. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { OVERLAY_NAMES, OVERLAYS } from '../../../../native-free-dataplane/overlay/modes.ts';
import type { NodeOverlay, OverlayNode } from '../../../../src/agent/overlay/node-overlay.ts';
import { NODE_OVERLAYS } from '../../../../src/agent/overlay/overlay.ts';
import { shortcutRules } from '../../../../src/agent/underlay/shortcut.ts';
import { ruleWords } from '../../../../src/linux/rules.ts';

const NODE: OverlayNode = {
  nodeName: 'n1',
  nodeIP: '172.18.0.11',
  podCIDR: '10.244.1.0/24',
  underlayDevice: 'eth0',
  overlay: 'ipip',
  vxlanPort: 4789,
  vni: 1,
  ipipTransport: 'dp0',
  workers: 1,
};
const RAW_SOCKET: OverlayNode = { ...NODE, ipipTransport: 'raw-socket' };

test('agent and pipeline have the same overlays, each with a number of its own', () => {
  assert.equal(Object.keys(NODE_OVERLAYS).sort(), [...OVERLAY_NAMES].sort());
  const modes = OVERLAY_NAMES.map((name) => OVERLAYS[name].mode);
  assert.is(new Set(modes).size, modes.length);
  assert.not(modes.includes(0 as never), 'zero is the value of an empty table');
});

test("an overlay's packets are routed to dp0 by its own rules", () => {
  const rules = (overlay: NodeOverlay, node = NODE) => overlay.hostRules(node).map(ruleWords);
  assert.equal(rules(NODE_OVERLAYS.vxlan), ['pref 7 iif eth0 to 172.18.0.11 ipproto 17 dport 4789 lookup 100']);
  assert.equal(rules(NODE_OVERLAYS.ipip), ['pref 7 iif eth0 to 172.18.0.11 ipproto 4 lookup 100']);
  assert.equal(rules(NODE_OVERLAYS.ipip, RAW_SOCKET), [], 'the kernel gives them to the raw socket');
  assert.equal(rules(NODE_OVERLAYS['host-gw']), [
    'pref 6 iif dp0 lookup 101',
    'pref 7 iif eth0 to 10.244.1.1 lookup 100',
  ]);
});

test('the shortcut matches the same packets', () => {
  const lines = (overlay: NodeOverlay, node = NODE) => overlay.shortcutMatches(node);
  assert.equal(lines(NODE_OVERLAYS.vxlan), ['ip daddr 172.18.0.11 udp dport 4789']);
  assert.equal(lines(NODE_OVERLAYS.ipip), ['ip daddr 172.18.0.11 ip protocol 4']);
  assert.equal(lines(NODE_OVERLAYS.ipip, RAW_SOCKET), []);
  assert.equal(lines(NODE_OVERLAYS['host-gw']), ['ip daddr 10.244.1.0/24']);
  for (const overlayMatches of [['ip protocol 4'], []]) {
    const text = shortcutRules({
      ...NODE,
      prefix: 24,
      gateway: '10.244.1.1',
      underlayMtu: 1500,
      hostDevice: 'dp0',
      localAddresses: [NODE.nodeIP],
      routedNetworks: [],
      neighbours: [],
      overlayMatches,
      hostPorts: [],
      nodePortRange: [30000, 32767],
      masqueradePorts: [32768, 49151],
    });
    const forwarded = text.split('\n').filter((line) => line.endsWith('fwd to "dp0"'));
    assert.is(forwarded.length, overlayMatches.length + 1, text);
    assert.is(forwarded[0]?.trim() === 'ip protocol 4 fwd to "dp0"', overlayMatches.length === 1);
  }
});

test('only host-gw has the kernel route between nodes; only IPIP can use a raw socket', () => {
  const named = (holds: (overlay: NodeOverlay) => boolean) =>
    OVERLAY_NAMES.filter((name) => holds(NODE_OVERLAYS[name]));
  assert.equal(
    named(({ routedByHost }) => routedByHost),
    ['host-gw'],
  );
  assert.equal(
    named((overlay) => overlay.usesRawSocket(RAW_SOCKET)),
    ['ipip'],
  );
  assert.equal(
    named((overlay) => overlay.usesRawSocket(NODE)),
    [],
  );
});

test.run();
