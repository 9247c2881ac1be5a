import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { isIcmpIntact } from '../../../native-free-dataplane/wire/icmp.ts';
import {
  emitIcmpError,
  IcmpError,
  icmpErrorCode,
  icmpErrorType,
} from '../../../native-free-dataplane/wire/icmp-error.ts';
import { AT, hex, memory } from '../../lib/frames/header-memory.ts';

test('type and code of every error (RFC 792, RFC 1812 §5.2.7.1)', () => {
  const numbers = Object.entries(IcmpError).map(([name, error]) => [name, icmpErrorType(error), icmpErrorCode(error)]);
  assert.equal(numbers, [
    ['PORT_UNREACHABLE', 3, 3],
    ['HOST_UNREACHABLE', 3, 1],
    ['PROHIBITED', 3, 13],
    ['TOO_BIG', 3, 4],
    ['TTL_EXCEEDED', 11, 0],
  ]);
});

test('the header stands in front of the quote, with a checksum over both', () => {
  const view = memory();
  const end = AT + 8 + 28;
  view.setInt32(AT + 8, 0x45000073);
  emitIcmpError(view, AT, end, IcmpError.TOO_BIG, 1450);
  assert.ok(isIcmpIntact(view, AT, end));
  assert.match(hex(view, 12), /^0304....000005aa45000073$/);
  assert.is(view.getUint8(end), 0xff);
});

test.run();
