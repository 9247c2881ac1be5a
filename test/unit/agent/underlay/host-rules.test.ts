/** Routing rules and nft matches of pods' host ports. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { untrackedRules } from '../../../../src/agent/underlay/firewall.ts';
import { hostPortMatches } from '../../../../src/agent/underlay/host-port-matches.ts';
import { portRuns } from '../../../../src/agent/underlay/host-rules.ts';

const NODE = '172.18.0.11';
const SECOND = '172.18.0.50';
const TCP = 6;
const UDP = 17;

test('consecutive ports of one address and protocol need one rule', () => {
  const ports = [
    { protocol: TCP, port: 82 },
    { protocol: TCP, port: 80, address: NODE },
    { protocol: TCP, port: 80 },
    { protocol: UDP, port: 81 },
    { protocol: TCP, port: 81 },
    { protocol: TCP, port: 84 },
    { protocol: TCP, port: 81 },
  ];
  assert.equal(portRuns(ports), [
    { protocol: UDP, ports: [81, 81] },
    { protocol: TCP, ports: [80, 82] },
    { protocol: TCP, ports: [84, 84] },
    { protocol: TCP, address: NODE, ports: [80, 80] },
  ]);
});

test('nft: one match for each address and protocol; ports on an address that the node does not have are left out', () => {
  const ports = [
    { protocol: TCP, port: 80 },
    { protocol: TCP, port: 90 },
    { protocol: TCP, port: 91 },
    { protocol: UDP, port: 53, address: NODE },
    { protocol: UDP, port: 54, address: SECOND },
  ];
  assert.equal(hostPortMatches(ports, [NODE]), [
    `ip daddr { ${NODE} } meta l4proto 17 th dport { 53 }`,
    `ip daddr { ${NODE} } meta l4proto 6 th dport { 80, 90-91 }`,
  ]);
  assert.equal(hostPortMatches([], [NODE]), []);
});

/** What the wire brings for the node's addresses, and the kernel does not track. */
const fromWire = (match: string): string =>
  `iifname != { "lo", "dp0" } ip daddr { ${NODE}, ${SECOND} } ${match} notrack`;

test('the kernel does not track what dp0 receives: host ports, NodePorts, masqueraded ports of both classes, ICMP and protocols without ports', () => {
  const rules = untrackedRules({
    localAddresses: [NODE, SECOND],
    clusterNetworks: ['10.244.0.0/16', '10.96.0.0/12'],
    serviceAddresses: ['203.0.113.1'],
    overlayMatches: [],
    hostPorts: [{ protocol: TCP, port: 8081 }],
    nodePortRange: [30000, 32767],
    masqueradePorts: [36864, 65534],
    kept: [],
    mtu: 1500,
  });
  const lines = rules.split('\n').map((line) => line.trim());
  for (const match of [
    'meta l4proto 6 th dport { 8081 }',
    'meta l4proto { tcp, udp, sctp } th dport { 600-1023, 30000-32767, 36864-65534 }',
    'meta l4proto { 1, 33, 50, 51, 115, 136 }',
  ]) {
    assert.ok(lines.includes(fromWire(match)), `${match}\n${rules}`);
  }
});

test('the kernel tracks what it may have translated: packets between pods or services and addresses outside, both ways', () => {
  const rules = untrackedRules({
    localAddresses: [NODE],
    clusterNetworks: ['10.244.0.0/16', '10.96.0.0/12'],
    serviceAddresses: ['203.0.113.1'],
    overlayMatches: [],
    hostPorts: [],
    nodePortRange: [30000, 32767],
    masqueradePorts: [36864, 65534],
    kept: [],
    mtu: 1500,
  });
  const chain = /chain forwarded \{([^}]*(?:\{[^}]*\}[^}]*)*?)\n {2}\}/.exec(rules)?.[1] ?? '';
  const lines = chain.split('\n').map((line) => line.trim());
  const cluster = '{ 10.244.0.0/16, 10.96.0.0/12 }';
  assert.equal(lines.slice(2), [
    `iifname "dp0" ip saddr ${cluster} ip daddr != ${cluster} accept`,
    'iifname "dp0" fib daddr type != local notrack',
    `iifname != { "lo", "dp0" } ip saddr != ${cluster} ip daddr ${cluster} accept`,
    'iifname != { "lo", "dp0" } ip daddr { 10.244.0.0/16, 10.96.0.0/12, 203.0.113.1 } fib daddr type != local notrack',
  ]);
});

test.run();
