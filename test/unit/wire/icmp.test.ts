import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as icmp from '../../../native-free-dataplane/wire/icmp.ts';
import { viewOf } from '../../lib/frames/frame-builder.ts';
import { packet } from '../../lib/frames/frame-text.ts';
import { AT, hex, memory, untouchedAround } from '../../lib/frames/header-memory.ts';

const TYPES = Array.from({ length: 256 }, (_, type) => type);

test('a header is written to the byte and read back', () => {
  const view = memory();
  icmp.emitIcmp(view, AT, icmp.ICMP_UNREACHABLE, icmp.UNREACHABLE_FRAGMENTATION_NEEDED, 1450);
  assert.is(hex(view, 8), '03040000000005aa');
  untouchedAround(view, 8);
  assert.equal([icmp.icmpType(view, AT), icmp.icmpCode(view, AT), icmp.icmpMtu(view, AT)], [3, 4, 1450]);
  icmp.emitIcmp(view, AT, icmp.ICMP_REDIRECT, 1, 0x0a000001);
  assert.is(icmp.icmpRedirectGateway(view, AT), 0x0a000001);
  icmp.emitIcmp(view, AT, 200, 255, (7 << 16) | 9);
  assert.equal([icmp.icmpType(view, AT), icmp.icmpCode(view, AT)], [200, 255]);
  assert.equal([icmp.icmpIdentifier(view, AT), icmp.icmpSequence(view, AT)], [7, 9]);
});

test('types: errors quote, queries do not; a reply belongs to the type of its request', () => {
  assert.equal(TYPES.filter(icmp.isIcmpError), [3, 4, 5, 11, 12]);
  assert.equal(TYPES.filter(icmp.isIcmpRequest), [8, 13, 17]);
  const queries = TYPES.filter((type) => icmp.icmpQueryType(type) >= 0);
  assert.equal(
    queries.map((type) => [type, icmp.icmpQueryType(type)]),
    [
      [0, 8],
      [8, 8],
      [13, 13],
      [14, 13],
      [17, 17],
      [18, 17],
    ],
  );
  assert.equal([8, 13, 17].map(icmp.icmpReplyType), [0, 14, 18]);
});

test('ports of a query: the identifier as the querying side’s, the request type as the other side’s', () => {
  const view = memory();
  icmp.emitIcmp(view, AT, icmp.ICMP_ECHO_REQUEST, 0, 0x9abc << 16);
  assert.is(icmp.icmpPortsWord(view, AT), (0x9abc << 16) | 8);
  icmp.emitIcmp(view, AT, icmp.ICMP_ECHO_REPLY, 0, 0x9abc << 16);
  assert.is(icmp.icmpPortsWord(view, AT), (8 << 16) | 0x9abc);
});

test('a changed identifier gives what a sender with that identifier would have sent', () => {
  for (const [name, ports] of [
    ['echo-request', (4711 << 16) | 8],
    ['echo-reply', (8 << 16) | 4711],
  ] as const) {
    const bytes = packet(`icmp 10.0.0.1 > 10.0.0.2 ${name} id 1 seq 2 len 33`);
    icmp.rewriteIcmpPorts(viewOf(bytes), 20, ports);
    assert.equal(bytes, packet(`icmp 10.0.0.1 > 10.0.0.2 ${name} id 4711 seq 2 len 33`));
  }
});

test('an echo request is turned into its reply in place', () => {
  const bytes = packet('icmp 10.0.0.1 > 10.0.0.2 echo-request id 1 seq 2 len 33');
  icmp.answerEchoInPlace(viewOf(bytes), 20);
  assert.equal(bytes, packet('icmp 10.0.0.1 > 10.0.0.2 echo-reply id 1 seq 2 len 33'));
});

test('the checksum is written, verified, and found wrong after any flipped bit', () => {
  const bytes = packet('icmp 10.0.0.1 > 10.0.0.2 echo-request id 1 seq 2 len 33').subarray(20);
  const view = viewOf(bytes);
  const right = view.getUint16(2);
  view.setUint16(2, 0x5555);
  icmp.writeIcmpChecksum(view, 0, bytes.length);
  assert.is(view.getUint16(2), right);
  for (let at = 0; at < bytes.length; at++) {
    assert.ok(icmp.isIcmpIntact(view, 0, bytes.length));
    view.setUint8(at, view.getUint8(at) ^ 0x40);
    assert.not(icmp.isIcmpIntact(view, 0, bytes.length), `byte ${at}`);
    view.setUint8(at, view.getUint8(at) ^ 0x40);
  }
});

test.run();
