/**
 * Errors of other networks that trusted a sender: loopback, rogue routers and servers, tunnels, forged addresses.
 * Each test is named after its report.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { A, B, GATEWAY, NODE, SERVER } from '../../lib/nat-node.ts';
import { TestNode } from '../../lib/test-node.ts';

const FAR = '10.244.2.2';
const PEER = '172.18.0.12';
const MAC_A = '0a:58:0a:f4:01:02';
const MAC_B = '0a:58:0a:f4:01:03';
const GATEWAY_MAC = '0a:58:0a:f4:01:01';
/** The node's own MAC on the underlay: frames that the shortcut moved to dp0, which the kernel has not checked. */
const UNCHECKED = { dstMac: '02:00:00:00:00:77' };

function node(): TestNode {
  return new TestNode()
    .pod('a', A)
    .pod('b', B)
    .peer(2)
    .service('tcp 10.96.0.10:80', { endpoints: [`${B}:8080`], nodePort: 31418 })
    .service('udp 10.96.0.10:80', { endpoints: [`${B}:8080`], nodePort: 31418 });
}

/** A packet from node 2, encapsulated. */
const tunnelled = (inner: string, outer = PEER): string => `vxlan ${outer}:50000 > ${NODE}:4789 vni 1 (${inner})`;

/** Nothing was sent and no connection was made. */
function hasNoEffect(n: TestNode, what: string): void {
  assert.equal(n.out, [], what);
  assert.is(n.flows, 0, what);
}

test('CVE-2020-8558, kubernetes #92315, #90259, #92938: 127/8 is reached from the node only, never from a pod or the network', () => {
  for (const address of ['127.0.0.1', '127.9.9.9']) {
    for (const port of [31418, 10250, 80]) {
      const n = node();
      assert.is(n.receive('a', `tcp ${A}:4000 > ${address}:${port} S`), 'loopback-from-network');
      assert.is(n.receive('host', `tcp ${SERVER}:4000 > ${address}:${port} S`), 'loopback-from-network');
      assert.is(n.receive('host', `tcp ${SERVER}:4000 > ${address}:${port} S`, UNCHECKED), 'loopback-from-network');
      assert.is(n.receive('host', tunnelled(`tcp ${FAR}:4000 > ${address}:${port} S`)), 'loopback-from-network');
      // With the source inside 127/8, to anything.
      assert.is(n.receive('a', `tcp ${address}:4000 > ${B}:${port} S`, { srcMac: MAC_A }), 'loopback-from-network');
      assert.is(n.receive('host', `tcp ${address}:4000 > ${NODE}:${port} S`, UNCHECKED), 'loopback-from-network');
      assert.is(n.receive('host', `tcp ${address}:4000 > 10.96.0.10:80 S`, UNCHECKED), 'loopback-from-network');
      hasNoEffect(n, `${address}:${port}`);
    }
  }
  const local = node();
  assert.is(local.receive('host', `tcp ${NODE}:4000 > 127.0.0.1:31418 S`), 'forwarded', "the node's own NodePort");
});

test('CVE-2020-10749 (kubernetes #91507), -13597 (Calico), -11091 (Weave), -13401 (Docker): rogue router advertisements, neighbours and redirects of a pod reach nobody', () => {
  for (const type of ['router-advertisement', 'router-solicitation', 'neighbour-advertisement', 'redirect']) {
    for (const dstMac of ['33:33:00:00:00:01', MAC_B, GATEWAY_MAC]) {
      const n = node();
      const verdict = n.receive('a', `icmp6 fe80::2 > ff02::1 ${type}`, { srcMac: MAC_A, dstMac });
      assert.is(verdict, 'ipv6-not-forwarded', `${type} to ${dstMac}`);
      hasNoEffect(n, type);
    }
  }
  const n = node();
  assert.is(n.receive('a', `icmp ${A} > ${B} router-advertisement`, { dstMac: MAC_B }), 'conntrack-invalid');
  assert.is(
    n.receive('a', `icmp ${A} > ${B} redirect mtu 0 (udp ${B}:1 > ${A}:2 len 8)`, { dstMac: MAC_B }),
    'icmp-redirect',
  );
  hasNoEffect(n, 'ICMP');
});

test('CVE-2020-10749: DHCP answers of a pod reach nobody, also sent to one address', () => {
  for (const to of [B, FAR, NODE, GATEWAY, SERVER, '255.255.255.255', '10.244.1.255']) {
    const n = node();
    const verdict = n.receive('a', `udp ${A}:67 > ${to}:68 len 300`);
    assert.ok(['dhcp-from-pod', 'multicast', 'no-route-answered'].includes(verdict), `${to}: ${verdict}`);
    n.sent('a');
    hasNoEffect(n, to);
  }
  // The answer of a server that was asked, as a relay does, is a reply.
  const n = node();
  assert.is(n.receive('host', `udp ${SERVER}:68 > ${NODE}:31418 len 300`), 'forwarded');
  assert.is(
    n.receive('a', `udp ${A}:67 > ${B}:67 len 300`, { dstMac: MAC_B }),
    'forwarded',
    'between servers and relays',
  );
});

test('felix #2063, #2481, #2317, #2000, origin #21363, cilium #33992: overlay packets are accepted from known nodes only, and from each only for its own pods', () => {
  const good = `tcp ${FAR}:1 > ${A}:2 S`;
  assert.is(node().receive('host', tunnelled(good)), 'forwarded');
  for (const [verdict, packet] of [
    ['vxlan-unknown-peer', tunnelled(good, '172.18.0.66')],
    ['vxlan-unknown-peer', tunnelled(good, SERVER)],
    ['vxlan-vni', tunnelled(good).replace('vni 1', 'vni 2')],
    ['vxlan-inner-source', tunnelled(`tcp 10.244.3.2:1 > ${A}:2 S`)],
    ['vxlan-inner-source', tunnelled(`tcp ${B}:1 > ${A}:2 S`)],
    ['vxlan-inner-source', tunnelled(`tcp ${SERVER}:1 > ${A}:2 S`)],
    ['vxlan-inner-source', tunnelled(`tcp ${NODE}:1 > ${A}:2 S`)],
  ] as const) {
    const n = node();
    assert.is(n.receive('host', packet), verdict, packet);
    hasNoEffect(n, packet);
  }
});

test('felix #2063, CVE-2024-7595, CVE-2024-7596 (GRE, GUE), CVE-2020-10136 (IPIP): no pod sends tunnel packets to a node', () => {
  for (const to of [NODE, PEER, GATEWAY, '10.244.2.1', SERVER]) {
    for (const packet of [
      `udp ${A}:50000 > ${to}:4789 len 60`,
      `udp ${A}:50000 > ${to}:8472 len 60`,
      `udp ${A}:50000 > ${to}:6080 len 60`,
      `udp ${A}:50000 > ${to}:6081 len 60`,
      `ipip ${A} > ${to} (tcp ${FAR}:1 > ${B}:2 S)`,
      `gre ${A} > ${to} len 60`,
    ]) {
      const n = node();
      assert.is(n.receive('a', packet), 'overlay-from-pod', packet);
      hasNoEffect(n, packet);
    }
  }
});

test('antrea #5378, CNI bridge macspoofchk: a pod sends from its own MAC and address only, in Ethernet, ARP and IPv4; gratuitous ARP for others is ignored', () => {
  const n = node();
  for (const dstMac of [GATEWAY_MAC, MAC_B]) {
    assert.is(n.receive('a', `udp ${A}:1 > ${B}:2 len 8`, { srcMac: MAC_B, dstMac }), 'spoofed-source-mac');
    assert.is(n.receive('a', `udp ${A}:1 > ${B}:2 len 8`, { srcMac: GATEWAY_MAC, dstMac }), 'spoofed-source-mac');
    for (const source of [B, GATEWAY, NODE, FAR, SERVER, '10.96.0.10', '10.244.1.77']) {
      const options = { srcMac: MAC_A, dstMac };
      assert.is(n.receive('a', `udp ${source}:1 > ${B}:2 len 8`, options), 'spoofed-source-ip', source);
    }
  }
  assert.is(n.receive('a', `udp ${A}:1 > ${B}:2 len 8`, { srcMac: '01:00:5e:00:00:01' }), 'source-mac-invalid');
  for (const claimed of [B, GATEWAY, '10.96.0.10', NODE]) {
    // Gratuitous, as a request and as a reply (RFC 5944 §4.6).
    assert.is(n.receive('a', `arp who-has ${claimed} tell ${claimed}`, { srcMac: MAC_A }), 'arp-spoofed');
    assert.is(n.receive('a', `arp ${claimed} is-at ${MAC_A}`), 'arp-reply-ignored');
  }
  hasNoEffect(n, 'none of it');
  assert.is(n.receive('b', `arp who-has ${A} tell ${B}`), 'arp-answered');
  assert.match(n.sent('b')[0] ?? '', `${A} is-at ${MAC_A}`, 'nobody learnt anything');
});

test('CVE-2023-5366: neighbour discovery is not forwarded, so nothing is cached whose target could differ', () => {
  const n = node();
  for (const target of ['fd00::3', 'fd00::4']) {
    for (const type of ['neighbour-solicitation', 'neighbour-advertisement']) {
      assert.is(
        n.receive('a', `icmp6 fd00::2 > ${target} ${type}`, { srcMac: MAC_A, dstMac: MAC_B }),
        'ipv6-not-forwarded',
      );
    }
  }
  hasNoEffect(n, 'discovery');
});

test('CVE-2023-27594: a NodePort is not reached over IPv6, so no IPv6 source is taken for the host', () => {
  const n = node();
  assert.is(n.receive('host', 'tcp [fd00::1]:4000 > [fd00::11]:31418 S', UNCHECKED), 'ipv6-not-forwarded');
  hasNoEffect(n, 'IPv6');
});

test('RFC 3927 §2.7: a packet of a pod to a link-local address outside, such as the metadata of a cloud, is dropped', () => {
  for (const packet of [
    `tcp ${A}:4000 > 169.254.169.254:80 S`,
    `udp ${A}:4000 > 169.254.1.1:123 len 8`,
    `icmp ${A} > 169.254.169.254 echo-request id 1 seq 1 len 8`,
  ]) {
    const n = node();
    assert.is(n.receive('a', packet), 'link-local-destination', packet);
    hasNoEffect(n, packet);
    assert.is(n.receive('host', tunnelled(packet.replace(A, FAR))), 'link-local-destination', packet);
    hasNoEffect(n, packet);
  }
  const open = new TestNode({ forwardLinkLocal: true }).pod('a', A);
  assert.is(open.receive('a', `tcp ${A}:4000 > 169.254.169.254:80 S`), 'to-host', 'the operator asked for it');
  const behind = node().service('tcp 10.96.0.99:80', { endpoints: ['169.254.169.254:80'] });
  assert.is(behind.receive('a', `tcp ${A}:4000 > 10.96.0.99:80 S`), 'link-local-destination', 'after translation');
});

test.run();
