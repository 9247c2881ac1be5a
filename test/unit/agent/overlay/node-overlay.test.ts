/** The node around an overlay follows from the overlay's data: exactly its packets are routed to dp0. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  OVERLAY_NAMES,
  OVERLAYS,
  type OverlayFacts,
  type OverlayName,
} from '../../../../native-free-dataplane/overlay/modes.ts';
import { PROTOCOL_GRE } from '../../../../native-free-dataplane/protocols.ts';
import {
  isRoutedByKernel,
  type OverlayNode,
  overlayMatches,
  overlayRules,
} from '../../../../src/agent/overlay/node-overlay.ts';
import { shortcutRules } from '../../../../src/agent/underlay/shortcut.ts';
import { usesRawSocket } from '../../../../src/api/cluster-options.ts';
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

test('each overlay has a number of its own', () => {
  const modes = OVERLAY_NAMES.map((name) => OVERLAYS[name].mode);
  assert.is(new Set(modes).size, modes.length);
  assert.not(modes.includes(0 as never), 'zero is the value of an empty table');
});

test("an overlay's packets are routed to dp0 by its own rules", () => {
  const rules = (overlay: OverlayName, node = NODE) => overlayRules({ ...node, overlay }).map(ruleWords);
  assert.equal(rules('vxlan'), ['pref 7 iif eth0 to 172.18.0.11 ipproto 17 dport 4789 lookup 100']);
  assert.equal(rules('ipip'), ['pref 7 iif eth0 to 172.18.0.11 ipproto 4 lookup 100']);
  assert.equal(rules('ipip', RAW_SOCKET), [], 'the kernel gives them to the raw socket');
  assert.equal(rules('host-gw'), ['pref 6 iif dp0 lookup 101', 'pref 7 iif eth0 to 10.244.1.1 lookup 100']);
});

test('the shortcut matches the same packets', () => {
  const lines = (overlay: OverlayName, node = NODE) => overlayMatches({ ...node, overlay });
  assert.equal(lines('vxlan'), ['ip daddr 172.18.0.11 udp dport 4789']);
  assert.equal(lines('ipip'), ['ip daddr 172.18.0.11 ip protocol 4']);
  assert.equal(lines('ipip', RAW_SOCKET), []);
  assert.equal(lines('host-gw'), ['ip daddr 10.244.1.0/24']);
  for (const matches of [['ip protocol 4'], []]) {
    const text = shortcutRules({
      ...NODE,
      prefix: 24,
      gateway: '10.244.1.1',
      clusterNetworks: ['10.244.0.0/16'],
      underlayMtu: 1500,
      hostDevice: 'dp0',
      overlayDevice: 'dp1',
      localAddresses: [NODE.nodeIP],
      routedNetworks: [],
      neighbours: [],
      overlayMatches: matches,
      hostPorts: [],
      nodePortRange: [30000, 32767],
      masqueradePorts: [32768, 49151],
      kept: [],
    });
    const forwarded = text.split('\n').filter((line) => /fwd to "dp[01]"$/.test(line));
    assert.is(forwarded.length, matches.length + 1, text);
    // Overlay packets have a device, and so a queue, of their own.
    assert.is(forwarded[0]?.trim() === 'ip protocol 4 fwd to "dp1"', matches.length === 1);
    assert.match(forwarded.at(-1) ?? '', /th dport .* fwd to "dp0"$/);
    // A later fragment has payload in the place of ports.
    assert.ok(text.indexOf('ip frag-off & 0x3fff != 0 accept') < text.search(/fwd to "dp[01]"/), text);
    assert.match(text, /ip saddr { 10\.244\.0\.0\/16 } accept\n[^}]*fwd ip to/);
  }
});

test('only host-gw has the kernel route between nodes; only IPIP can use a raw socket', () => {
  const named = (holds: (overlay: OverlayName) => boolean) => OVERLAY_NAMES.filter(holds);
  assert.equal(
    named((overlay) => isRoutedByKernel({ overlay })),
    ['host-gw'],
  );
  assert.equal(
    named((overlay) => usesRawSocket({ ...RAW_SOCKET, overlay })),
    ['ipip'],
  );
  assert.equal(
    named((overlay) => usesRawSocket({ ...NODE, overlay })),
    [],
  );
});

test('an overlay over another protocol needs nothing but its data', () => {
  const gre: OverlayFacts = { mode: OVERLAYS.vxlan.mode, overheadBytes: 24, tunnel: { protocol: PROTOCOL_GRE } };
  const node: OverlayNode = { ...RAW_SOCKET, overlay: 'vxlan' };
  assert.equal(overlayRules(node, gre).map(ruleWords), ['pref 7 iif eth0 to 172.18.0.11 ipproto 47 lookup 100']);
  assert.equal(overlayMatches(node, gre), ['ip daddr 172.18.0.11 ip protocol 47']);
});

test.run();
