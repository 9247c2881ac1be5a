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

test('packets to host ports are not tracked by the kernel', () => {
  const rules = untrackedRules({
    localAddresses: [NODE, SECOND],
    networks: ['10.244.0.0/16'],
    overlayMatches: [],
    hostPorts: [{ protocol: TCP, port: 8081 }],
    nodePortRange: [30000, 32767],
    masqueradePorts: [36864, 65534],
  });
  assert.match(
    rules,
    `iifname != { "lo", "dp0" } ip daddr { ${NODE}, ${SECOND} } meta l4proto 6 th dport { 8081 } notrack`,
  );
});

test.run();
