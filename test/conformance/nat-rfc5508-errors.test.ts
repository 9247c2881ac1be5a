/**
 * ICMP errors through a NAT: RFC 5508 with the related requirements RFC 4787 REQ-12 and RFC 5382 REQ-9 and REQ-10.
 * Errors are translated at all three levels; every packet is compared with one built from scratch.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { packet } from '../lib/frames/frame-text.ts';
import {
  A,
  B,
  GATEWAY,
  isPacket,
  NODE,
  natNode,
  onlySent,
  ROUTER,
  SERVER,
  secondsLeft,
  tableWords,
} from '../lib/nat-node.ts';

const UNREACHABLE: Readonly<Record<number, string>> = {
  0: 'network',
  1: 'host',
  2: 'protocol',
  3: 'port',
  4: 'fragmentation-needed mtu 20',
  5: 'source-route-failed',
  9: 'network-prohibited',
  10: 'host-prohibited',
  13: 'prohibited',
};

/** Every type of error except redirects. */
const ERRORS: readonly string[] = [
  ...Array.from({ length: 16 }, (_, code) => `unreachable ${UNREACHABLE[code] ?? `code-${code}`}`),
  'source-quench',
  'time-exceeded',
  'time-exceeded code-1',
  'parameter-problem',
  'parameter-problem code-1',
];

/**
 * The first packet of a connection from pod a to the outside; % stands for the pod's address, or the node's after
 * translation.
 */
const OUTWARD: Readonly<Record<string, string>> = {
  'RFC 4787 REQ-12 (UDP)': `udp %:40000 > ${SERVER}:53 len 20`,
  'RFC 5382 REQ-9, REQ-10 (TCP)': `tcp %:40000 > ${SERVER}:80 S seq 100`,
  'RFC 5508 REQ-5, REQ-6 (ICMP query)': `icmp % > ${SERVER} echo-request id 700 seq 1 len 40`,
  'RFC 5508 REQ-5, REQ-6 (SCTP)': `sctp %:40000 > ${SERVER}:80 len 16`,
  'RFC 5508 REQ-5, REQ-6 (ESP)': `esp % > ${SERVER} len 16`,
};

for (const [id, text] of Object.entries(OUTWARD)) {
  test(`${id}: errors of every type, from any router on the path, are translated and do not affect the connection`, () => {
    const n = natNode();
    assert.is(n.receive('a', text.replace('%', A)), 'to-host');
    isPacket(onlySent(n, 'host'), text.replace('%', NODE));
    const before = tableWords(n);
    for (const type of ERRORS) {
      for (const router of [ROUTER, SERVER]) {
        for (const quoted of [{ ttl: 3 }, { ttl: 1, ipOptions: Uint8Array.of(7, 7, 4, 1, 2, 3, 4, 0) }]) {
          const error = `icmp ${router} > ${NODE} ${type} (${text.replace('%', NODE)})`;
          assert.is(n.receive('host', error, { quoted }), 'forwarded', error);
          isPacket(onlySent(n, 'a'), `icmp ${router} > ${A} ${type} (${text.replace('%', A)})`, { quoted });
        }
      }
    }
    assert.equal(tableWords(n), before, 'not a word of the connection');
    assert.is(n.flows, 1);
  });

  test(`OVS 71f3dd3e9, a81da0805, 6c2a93064, gVisor 41ccfb37a, 752de092a, 8b1f27243, ${id}: eight bytes of the quoted packet after its IP header suffice, seven do not`, () => {
    const n = natNode();
    n.receive('a', text.replace('%', A));
    n.sent('host');
    for (const [options, verdict] of [
      [{ quotedBytes: 28 }, 'forwarded'],
      [{ quotedBytes: 27 }, 'icmp-error-malformed'],
      [{ quotedBytes: 20 }, 'icmp-error-malformed'],
      [{ quotedBytes: 32, quoted: { ipOptions: Uint8Array.of(1, 1, 1, 0) } }, 'forwarded'],
      [{ quotedBytes: 31, quoted: { ipOptions: Uint8Array.of(1, 1, 1, 0) } }, 'icmp-error-malformed'],
    ] as const) {
      const errorTo = (address: string): string =>
        `icmp ${ROUTER} > ${address} unreachable host (${text.replace('%', address)})`;
      assert.is(n.receive('host', errorTo(NODE), options), verdict, `${options.quotedBytes} bytes`);
      if (verdict === 'forwarded') isPacket(onlySent(n, 'a'), errorTo(A), options);
    }
    assert.equal(n.sent('a'), []);
  });
}

test('an error about a connection to a service: one from the endpoint gets the service’s address, one from a router keeps its own', () => {
  const n = natNode().service('tcp 10.96.0.10:80', { endpoints: [`${B}:8080`] });
  n.receive('a', `tcp ${A}:4000 > 10.96.0.10:80 S`);
  n.sent('b');
  n.receive('b', `icmp ${B} > ${A} unreachable port (tcp ${A}:4000 > ${B}:8080 S)`);
  isPacket(onlySent(n, 'a'), `icmp 10.96.0.10 > ${A} unreachable port (tcp ${A}:4000 > 10.96.0.10:80 S)`, { ttl: 63 });
  // The other node is a router on the way to its pod.
  n.service('tcp 10.96.0.10:80', { endpoints: ['10.244.2.2:8080'] });
  n.receive('a', `tcp ${A}:4001 > 10.96.0.10:80 S`);
  n.receive(
    'host',
    `vxlan 172.18.0.12:50000 > ${NODE}:4789 vni 1 (icmp 10.244.2.1 > ${A} time-exceeded (tcp ${A}:4001 > 10.244.2.2:8080 S))`,
  );
  isPacket(onlySent(n, 'a'), `icmp 10.244.2.1 > ${A} time-exceeded (tcp ${A}:4001 > 10.96.0.10:80 S)`, { ttl: 63 });
});

test('an error toward the endpoint, about its own reply, is translated to the endpoint’s addresses', () => {
  const n = natNode().service('udp 10.96.0.10:53', { endpoints: [`${B}:5353`], nodePort: 31418 });
  n.receive('host', `udp ${SERVER}:5000 > ${NODE}:31418 len 5`);
  isPacket(onlySent(n, 'b'), `udp ${GATEWAY}:5000 > ${B}:5353 len 5`);
  n.receive('b', `udp ${B}:5353 > ${GATEWAY}:5000 len 900`);
  isPacket(onlySent(n, 'host'), `udp ${NODE}:31418 > ${SERVER}:5000 len 900`);
  // The client is gone; a router on the path reports that the reply was too big.
  n.receive('host', `icmp ${SERVER} > ${NODE} unreachable port (udp ${NODE}:31418 > ${SERVER}:5000 len 900)`);
  isPacket(onlySent(n, 'b'), `icmp ${GATEWAY} > ${B} unreachable port (udp ${B}:5353 > ${GATEWAY}:5000 len 900)`);
  n.receive(
    'host',
    `icmp ${ROUTER} > ${NODE} unreachable fragmentation-needed mtu 600 (udp ${NODE}:31418 > ${SERVER}:5000 len 900)`,
  );
  isPacket(
    onlySent(n, 'b'),
    `icmp ${ROUTER} > ${B} unreachable fragmentation-needed mtu 600 (udp ${B}:5353 > ${GATEWAY}:5000 len 900)`,
  );
});

test('RFC 5508 REQ-4: an error from inside about a packet that came from outside is translated on its way out', () => {
  const n = natNode();
  n.receive('a', `udp ${A}:40000 > ${SERVER}:53 len 20`);
  n.receive('host', `udp ${SERVER}:53 > ${NODE}:40000 len 30`);
  n.sent('host');
  const before = tableWords(n);
  assert.is(n.receive('a', `icmp ${A} > ${SERVER} unreachable port (udp ${SERVER}:53 > ${A}:40000 len 30)`), 'to-host');
  isPacket(onlySent(n, 'host'), `icmp ${NODE} > ${SERVER} unreachable port (udp ${SERVER}:53 > ${NODE}:40000 len 30)`);
  assert.equal(tableWords(n), before);
});

test('RFC 5508 REQ-4a, REQ-5a: an error about an unknown connection is dropped, or belongs to the node itself', () => {
  const n = natNode();
  assert.is(
    n.receive('a', `icmp ${A} > ${SERVER} unreachable port (udp ${SERVER}:53 > ${A}:40000 len 30)`),
    'icmp-error-unrelated',
  );
  assert.is(
    n.receive('host', `icmp ${ROUTER} > ${A} unreachable port (udp ${A}:40000 > ${SERVER}:53 len 30)`),
    'icmp-error-unrelated',
  );
  assert.equal(n.out, []);
  assert.is(
    n.receive('host', `icmp ${ROUTER} > ${NODE} unreachable port (udp ${NODE}:40000 > ${SERVER}:53 len 30)`),
    'to-host',
    'about a socket of the node',
  );
});

test('RFC 5508 REQ-6: an error neither refreshes nor ends a mapping, which expires at its time', () => {
  const n = natNode();
  n.receive('a', `udp ${A}:40000 > ${SERVER}:53 len 20`);
  n.sent('host');
  const error = `icmp ${ROUTER} > ${NODE} unreachable host (udp ${NODE}:40000 > ${SERVER}:53 len 20)`;
  for (let second = 0; second < 29; second++) {
    n.advance(1000);
    assert.is(n.receive('host', error), 'forwarded');
  }
  assert.is(secondsLeft(n), 1);
  n.advance(1000);
  assert.is(n.receive('host', error), 'to-host', 'the mapping is over');
});

test('RFC 5508 REQ-7: errors about hairpinned packets', () => {
  const n = natNode().service('udp 10.96.0.10:53', { endpoints: [`${B}:5353`], nodePort: 31418 });
  n.receive('a', `udp ${A}:4000 > ${NODE}:31418 len 20`);
  isPacket(onlySent(n, 'b'), `udp ${GATEWAY}:4000 > ${B}:5353 len 20`, { ttl: 63 });
  const quoted = { ttl: 63 };
  assert.is(
    n.receive('b', `icmp ${B} > ${GATEWAY} unreachable port (udp ${GATEWAY}:4000 > ${B}:5353 len 20)`, { quoted }),
    'forwarded',
  );
  isPacket(onlySent(n, 'a'), `icmp ${NODE} > ${A} unreachable port (udp ${A}:4000 > ${NODE}:31418 len 20)`, {
    ttl: 63,
    quoted,
  });
  // A pod that connects to itself.
  const m = natNode().service('udp 10.96.0.10:53', { endpoints: [`${A}:5353`] });
  m.receive('a', `udp ${A}:4000 > 10.96.0.10:53 len 20`);
  isPacket(onlySent(m, 'a'), `udp ${GATEWAY}:4000 > ${A}:5353 len 20`, { ttl: 63 });
  m.receive('a', `icmp ${A} > ${GATEWAY} unreachable port (udp ${GATEWAY}:4000 > ${A}:5353 len 20)`, { quoted });
  isPacket(onlySent(m, 'a'), `icmp 10.96.0.10 > ${A} unreachable port (udp ${A}:4000 > 10.96.0.10:53 len 20)`, {
    ttl: 63,
    quoted,
  });
});

test('RFC 5508 REQ-10: an error that quotes an error or a later fragment matches no connection', () => {
  const n = natNode();
  n.receive('a', `udp ${A}:40000 > ${SERVER}:53 len 20`);
  n.sent('host');
  const aboutError = `icmp ${ROUTER} > ${A} time-exceeded (icmp ${A} > ${ROUTER} unreachable host (udp ${ROUTER}:9 > ${A}:40000 len 20))`;
  assert.is(n.receive('host', aboutError), 'icmp-error-malformed');
  const aboutFragment = `icmp ${ROUTER} > ${A} time-exceeded (udp ${A} > ${SERVER} len 64 frag id 7 offset 1480)`;
  assert.is(n.receive('host', aboutFragment), 'icmp-error-unrelated');
  assert.equal(n.out, []);
});

test('RFC 768 inside an error: a quoted checksum of zero is written as all ones, an absent one stays absent', () => {
  // Ports and addresses are known, so one payload word can produce any quoted checksum.
  const build = (address: string, word: number): Uint8Array =>
    packet(`udp ${address}:40000 > ${SERVER}:53`, { payload: Uint8Array.of(word >> 8, word & 0xff) });
  const plain = new DataView(build(A, 0).buffer).getUint16(26);
  assert.is(new DataView(build(A, plain).buffer).getUint16(26), 0xffff, 'computed as zero');
  const n = natNode();
  n.receive('a', `udp ${A}:40000 > ${SERVER}:53 len 2`);
  n.sent('host');
  const payload = Uint8Array.of(plain >> 8, plain & 0xff);
  for (const udpChecksum of [true, false]) {
    const quoted = { payload, udpChecksum };
    const errorTo = (address: string): string =>
      `icmp ${ROUTER} > ${address} time-exceeded (udp ${address}:40000 > ${SERVER}:53)`;
    assert.is(n.receive('host', errorTo(NODE), { quoted }), 'forwarded');
    isPacket(onlySent(n, 'a'), errorTo(A), { quoted });
  }
});

test.run();
