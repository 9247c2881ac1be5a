/**
 * RFC 5508 (ICMP through a NAT) with what RFC 4787 REQ-12 and RFC 5382 REQ-9 and REQ-10 ask of errors: queries mapped by
 * identifier, errors translated at all three levels, every packet compared with one built from scratch.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { timeoutsWith } from '../../native-free-dataplane/tables/conntrack-timeouts.ts';
import { repairChecksums } from '../lib/frame-residue.ts';
import { frame, packet } from '../lib/frame-text.ts';
import {
  A,
  B,
  entries,
  GATEWAY,
  HOST_MACS,
  isPacket,
  NODE,
  natNode,
  onlySent,
  portsOf,
  ROUTER,
  SERVER,
  secondsLeft,
  tableWords,
} from '../lib/nat-world.ts';
import type { TestNode } from '../lib/test-node.ts';

const UNREACHABLE: Readonly<Record<number, string>> = {
  0: 'network',
  1: 'host',
  2: 'protocol',
  3: 'port',
  4: 'fragmentation-needed mtu 1400',
  5: 'source-route-failed',
  9: 'network-prohibited',
  10: 'host-prohibited',
  13: 'prohibited',
};

/** Every kind of error there is, but the redirect. */
const ERRORS: readonly string[] = [
  ...Array.from({ length: 16 }, (_, code) => `unreachable ${UNREACHABLE[code] ?? `code-${code}`}`),
  'source-quench',
  'time-exceeded',
  'time-exceeded code-1',
  'parameter-problem',
  'parameter-problem code-1',
];

/** The first packet of a connection of pod a with the outside; % is the pod, or the node for which it stands there. */
const OUTWARD: Readonly<Record<string, string>> = {
  'RFC 4787 REQ-12 (UDP)': `udp %:40000 > ${SERVER}:53 len 20`,
  'RFC 5382 REQ-9, REQ-10 (TCP)': `tcp %:40000 > ${SERVER}:80 S seq 100`,
  'RFC 5508 REQ-5, REQ-6 (ICMP query)': `icmp % > ${SERVER} echo-request id 700 seq 1 len 40`,
  'RFC 5508 REQ-5, REQ-6 (SCTP)': `sctp %:40000 > ${SERVER}:80 len 16`,
  'RFC 5508 REQ-5, REQ-6 (ESP)': `esp % > ${SERVER} len 16`,
};

for (const [id, text] of Object.entries(OUTWARD)) {
  test(`${id}: errors of every type, from any router on the way, are translated and change nothing`, () => {
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

  test(`${id}: eight bytes of the quoted packet behind its IP header are enough, seven are not`, () => {
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
      const said = (address: string): string =>
        `icmp ${ROUTER} > ${address} unreachable host (${text.replace('%', address)})`;
      assert.is(n.receive('host', said(NODE), options), verdict, `${options.quotedBytes} bytes`);
      if (verdict === 'forwarded') isPacket(onlySent(n, 'a'), said(A), options);
    }
    assert.equal(n.sent('a'), []);
  });
}

test('an error about a connection to a service: the endpoint that says so appears as the service, a router as itself', () => {
  const n = natNode().service('tcp 10.96.0.10:80', { endpoints: [`${B}:8080`] });
  n.receive('a', `tcp ${A}:4000 > 10.96.0.10:80 S`);
  n.sent('b');
  n.receive('b', `icmp ${B} > ${A} unreachable port (tcp ${A}:4000 > ${B}:8080 S)`);
  isPacket(onlySent(n, 'a'), `icmp 10.96.0.10 > ${A} unreachable port (tcp ${A}:4000 > 10.96.0.10:80 S)`, { ttl: 63 });
  n.receive(
    'host',
    `vxlan 172.18.0.12:50000 > ${NODE}:4789 vni 1 (icmp 10.244.2.1 > ${A} time-exceeded (tcp ${A}:4000 > ${B}:8080 S))`,
  );
  isPacket(onlySent(n, 'a'), `icmp 10.244.2.1 > ${A} time-exceeded (tcp ${A}:4000 > 10.96.0.10:80 S)`, { ttl: 63 });
});

test('an error toward the endpoint, about an answer of its own, is turned into its terms', () => {
  const n = natNode().service('udp 10.96.0.10:53', { endpoints: [`${B}:5353`], nodePort: 31418 });
  n.receive('host', `udp ${SERVER}:5000 > ${NODE}:31418 len 5`);
  isPacket(onlySent(n, 'b'), `udp ${GATEWAY}:5000 > ${B}:5353 len 5`);
  n.receive('b', `udp ${B}:5353 > ${GATEWAY}:5000 len 900`);
  isPacket(onlySent(n, 'host'), `udp ${NODE}:31418 > ${SERVER}:5000 len 900`);
  // The client gave up; a router on the way says the answer was too big.
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

for (const [request, reply] of [
  ['echo-request', 'echo-reply'],
  ['timestamp-request', 'timestamp-reply'],
  ['mask-request', 'mask-reply'],
] as const) {
  test(`RFC 5508 REQ-1: ${request} goes out mapped by its identifier, and ${reply} comes back`, () => {
    const n = natNode();
    n.receive('a', `icmp ${A} > ${SERVER} ${request} id 700 seq 1 len 12`);
    isPacket(onlySent(n, 'host'), `icmp ${NODE} > ${SERVER} ${request} id 700 seq 1 len 12`);
    n.receive('b', `icmp ${B} > ${SERVER} ${request} id 700 seq 2 len 12`);
    const second = onlySent(n, 'host');
    const [identifier] = portsOf(second);
    assert.is.not(identifier, 700);
    isPacket(second, `icmp ${NODE} > ${SERVER} ${request} id ${identifier} seq 2 len 12`);
    assert.is(n.receive('host', `icmp ${SERVER} > ${NODE} ${reply} id ${identifier} seq 2 len 12`), 'forwarded');
    isPacket(onlySent(n, 'b'), `icmp ${SERVER} > ${B} ${reply} id 700 seq 2 len 12`);
    assert.is(n.receive('host', `icmp ${SERVER} > ${NODE} ${reply} id 700 seq 1 len 12`), 'forwarded');
    isPacket(onlySent(n, 'a'), `icmp ${SERVER} > ${A} ${reply} id 700 seq 1 len 12`);
  });
}

test('OVS 627fef05b: hosts that ping one server with one identifier through one address, all at once', () => {
  const n = natNode().pod('c', '10.244.1.4').pod('d', '10.244.1.5');
  const pods: Record<string, string> = { a: A, b: B, c: '10.244.1.4', d: '10.244.1.5' };
  const outside = new Map<string, number>();
  for (const [pod, address] of Object.entries(pods)) {
    n.receive(pod, `icmp ${address} > ${SERVER} echo-request id 7 seq 1 len 8`);
    outside.set(pod, portsOf(onlySent(n, 'host'))[0]);
  }
  assert.is(new Set(outside.values()).size, 4);
  for (const [pod, identifier] of outside) {
    n.receive('host', `icmp ${SERVER} > ${NODE} echo-reply id ${identifier} seq 1 len 8`);
    isPacket(onlySent(n, pod), `icmp ${SERVER} > ${pods[pod]} echo-reply id 7 seq 1 len 8`);
  }
});

test('RFC 5508 REQ-2 (differs, as netfilter): a query is kept 30 s where 60 are asked for; the operator may say 60', () => {
  const n = natNode();
  n.receive('a', `icmp ${A} > ${SERVER} echo-request id 7 seq 1`);
  assert.is(secondsLeft(n), 30);
  n.conntrack.settings.set(timeoutsWith({ icmp: 60 }));
  n.receive('a', `icmp ${A} > ${SERVER} echo-request id 7 seq 2`);
  assert.is(secondsLeft(n), 60);
  n.advance(59_000);
  assert.is(n.receive('host', `icmp ${SERVER} > ${NODE} echo-reply id 7 seq 2`), 'forwarded');
});

/** A node with one datagram of pod a outside, and an error about it as bytes, to be spoilt. */
function errorInHand(quoted = {}): { n: TestNode; bytes: Uint8Array; view: DataView } {
  const n = natNode();
  n.receive('a', `udp ${A}:40000 > ${SERVER}:53 len 20`);
  n.sent('host');
  const text = `icmp ${ROUTER} > ${NODE} unreachable host (udp ${NODE}:40000 > ${SERVER}:53 len 20)`;
  const bytes = frame(text, { ...HOST_MACS, quoted });
  return { n, bytes, view: new DataView(bytes.buffer, bytes.byteOffset) };
}

/** Make the checksums of the error, its own and its header's, right again. */
const sumAgain = (view: DataView): void => repairChecksums(view, 14, view.byteLength, true, false);

test('RFC 5508 REQ-3a: an error whose ICMP checksum is wrong is dropped', () => {
  const { n, bytes, view } = errorInHand();
  view.setUint16(36, view.getUint16(36) ^ 0x0100);
  assert.is(n.receiveBytes('host', bytes), 'icmp-error-malformed');
  assert.equal(n.out, []);
});

test('RFC 5508 REQ-3b: an error whose quoted IP header has a wrong checksum is dropped', () => {
  const { n, bytes, view } = errorInHand();
  view.setUint16(52, view.getUint16(52) ^ 0x0100);
  sumAgain(view);
  assert.is(n.receiveBytes('host', bytes), 'icmp-error-malformed');
  assert.equal(n.out, []);
});

test('RFC 5508 REQ-3c: the quoted packet’s options are walked over, up to the longest header', () => {
  for (const bytes of [4, 20, 40]) {
    const quoted = { ipOptions: new Uint8Array(bytes).fill(1) };
    const { n, bytes: error } = errorInHand(quoted);
    assert.is(n.receiveBytes('host', error), 'forwarded');
    isPacket(onlySent(n, 'a'), `icmp ${ROUTER} > ${A} unreachable host (udp ${A}:40000 > ${SERVER}:53 len 20)`, {
      quoted,
    });
  }
  // A quoted header that says it is longer than what is there.
  const { n, bytes } = errorInHand({ ipOptions: new Uint8Array(40).fill(1) });
  const short = bytes.slice(0, 14 + 20 + 8 + 60);
  const cut = new DataView(short.buffer);
  cut.setUint16(16, short.length - 14);
  sumAgain(cut);
  assert.is(n.receiveBytes('host', short), 'icmp-error-malformed');
});

test('RFC 5508 REQ-3d: the quoted packet’s transport checksum is not looked at, and stays as wrong as it was', () => {
  const { n, bytes, view } = errorInHand();
  const field = 14 + 20 + 8 + 20 + 6;
  view.setUint16(field, view.getUint16(field) ^ 0x5555);
  sumAgain(view);
  assert.is(n.receiveBytes('host', bytes), 'forwarded');
  const said = frame(`icmp ${ROUTER} > ${A} unreachable host (udp ${A}:40000 > ${SERVER}:53 len 20)`);
  const right = new DataView(said.buffer).getUint16(field);
  const sent = onlySent(n, 'a').bytes;
  const got = new DataView(sent.buffer, sent.byteOffset);
  // By as much as before, in ones' complement.
  const original = frame(`udp ${NODE}:40000 > ${SERVER}:53 len 20`);
  const before = new DataView(original.buffer).getUint16(14 + 20 + 6);
  assert.is((got.getUint16(field) - right + 0xffff) % 0xffff, ((before ^ 0x5555) - before + 0xffff) % 0xffff);
  const sum = got.getUint16(36);
  sumAgain(got);
  assert.is(sum, got.getUint16(36), 'the ICMP checksum is right all the same');
});

test('RFC 5508 REQ-3e: what follows the quoted packet (RFC 4884) is carried as it is', () => {
  const n = natNode();
  n.receive('a', `udp ${A}:40000 > ${SERVER}:53 len 100`);
  n.sent('host');
  // 128 bytes of quote, then an extension structure with one object (RFC 4950, an MPLS label).
  const extension = Uint8Array.of(0x20, 0, 0xf2, 0x2c, 0, 8, 1, 1, 0x00, 0x3e, 0x81, 0x01);
  const build = (address: string): Uint8Array => {
    const plain = frame(
      `icmp ${ROUTER} > ${address} time-exceeded (udp ${address}:40000 > ${SERVER}:53 len 100)`,
      HOST_MACS,
    );
    const bytes = new Uint8Array(plain.length + extension.length);
    bytes.set(plain);
    bytes.set(extension, plain.length);
    const view = new DataView(bytes.buffer);
    view.setUint8(34 + 5, 32);
    view.setUint16(16, bytes.length - 14);
    sumAgain(view);
    return bytes;
  };
  assert.is(n.receiveBytes('host', build(NODE)), 'forwarded');
  assert.equal(Buffer.from(onlySent(n, 'a').bytes.subarray(14)), Buffer.from(build(A).subarray(14)));
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

test('RFC 5508 REQ-4a, REQ-5a: an error about a connection nobody has is dropped, or the node’s own', () => {
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

test('RFC 5508 REQ-6: an error neither lengthens nor ends a life: the mapping goes at its time', () => {
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
  // A pod that reaches itself.
  const m = natNode().service('udp 10.96.0.10:53', { endpoints: [`${A}:5353`] });
  m.receive('a', `udp ${A}:4000 > 10.96.0.10:53 len 20`);
  isPacket(onlySent(m, 'a'), `udp ${GATEWAY}:4000 > ${A}:5353 len 20`, { ttl: 63 });
  m.receive('a', `icmp ${A} > ${GATEWAY} unreachable port (udp ${GATEWAY}:4000 > ${A}:5353 len 20)`, { quoted });
  isPacket(onlySent(m, 'a'), `icmp 10.96.0.10 > ${A} unreachable port (udp ${A}:4000 > 10.96.0.10:53 len 20)`, {
    ttl: 63,
    quoted,
  });
});

test('RFC 5508 REQ-10: an error that quotes an error, or a later fragment, belongs to nobody', () => {
  const n = natNode();
  n.receive('a', `udp ${A}:40000 > ${SERVER}:53 len 20`);
  n.sent('host');
  const aboutError = `icmp ${ROUTER} > ${A} time-exceeded (icmp ${A} > ${ROUTER} unreachable host (udp ${ROUTER}:9 > ${A}:40000 len 20))`;
  assert.is(n.receive('host', aboutError), 'icmp-error-malformed');
  const aboutFragment = `icmp ${ROUTER} > ${A} time-exceeded (udp ${A} > ${SERVER} len 64 frag id 7 offset 1480)`;
  assert.is(n.receive('host', aboutFragment), 'icmp-error-unrelated');
  assert.equal(n.out, []);
});

test('RFC 5508 REQ-11: redirects, router advertisements and all that neither asks nor tells is dropped', () => {
  const n = natNode();
  n.receive('a', `udp ${A}:40000 > ${SERVER}:53 len 20`);
  n.sent('host');
  const redirect = `icmp ${ROUTER} > ${NODE} redirect (udp ${NODE}:40000 > ${SERVER}:53 len 20)`;
  assert.is(n.receive('host', redirect), 'icmp-redirect');
  assert.is(n.receive('a', `icmp ${A} > ${B} redirect (udp ${B}:1 > ${A}:2 len 20)`), 'icmp-redirect');
  for (const type of ['router-advertisement', 'router-solicitation', 'type-15', 'type-30', 'type-42', 'type-255']) {
    assert.is(n.receive('a', `icmp ${A} > ${B} ${type} id 1 seq 1`), 'conntrack-invalid', type);
    assert.is(n.receive('a', `icmp ${A} > ${SERVER} ${type} id 1 seq 1`), 'conntrack-invalid', type);
  }
  assert.equal(n.out, []);
  assert.is(entries(n).length, 1);
});

test('RFC 768 inside an error: a quoted checksum that comes out as zero is written as all ones, none stays none', () => {
  // Ports and addresses are known, so a payload word makes the quoted checksum come out as anything.
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
    const said = (address: string): string =>
      `icmp ${ROUTER} > ${address} time-exceeded (udp ${address}:40000 > ${SERVER}:53)`;
    assert.is(n.receive('host', said(NODE), { quoted }), 'forwarded');
    isPacket(onlySent(n, 'a'), said(A), { quoted });
  }
});

test.run();
