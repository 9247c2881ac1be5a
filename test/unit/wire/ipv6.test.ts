import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as ipv6 from '../../../native-free-dataplane/wire/ipv6.ts';
import { AT, hex, memory, untouchedAround } from '../../lib/frames/header-memory.ts';

test('a header is written to the byte and read back', () => {
  const view = memory();
  ipv6.emitIpv6(view, AT, 20, 6, Int32Array.of(0xfd000000, 0, 0, 1), Int32Array.of(0xfd000000, 0, 0, 2));
  assert.is(hex(view, 40), `6000000000140640fd${'00'.repeat(14)}01fd${'00'.repeat(14)}02`);
  untouchedAround(view, 40);
  assert.equal([ipv6.ipv6PayloadLength(view, AT), ipv6.ipv6NextHeader(view, AT)], [20, 6]);
  assert.equal([ipv6.ipv6SourceWord(view, AT, 3), ipv6.ipv6DestinationWord(view, AT, 3)], [1, 2]);
  assert.is(ipv6.sumIpv6Addresses(view, AT), 2 * 0xfd00 + 1 + 2);
});

test.run();
