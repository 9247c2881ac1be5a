import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { portsWord } from '../../../native-free-dataplane/wire/ports.ts';
import { rewriteSctpPorts, SCTP_BYTES } from '../../../native-free-dataplane/wire/sctp.ts';
import { viewOf } from '../../lib/frames/frame-builder.ts';
import { seededRandom } from '../../lib/seeded-random.ts';

const SEED = 0x5c79;

/** CRC32c bit by bit, over the packet with its checksum field as zeroes (RFC 9260 appendix A). */
function crc32c(bytes: Uint8Array): number {
  let crc = -1;
  for (const [at, byte] of bytes.entries()) {
    crc ^= at >= 8 && at < 12 ? 0 : byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) !== 0 ? 0x82f63b78 : 0);
  }
  return ~crc;
}

test('replaced ports: the checksum is that of the new packet, for every length', () => {
  const random = seededRandom(SEED);
  for (let payload = 0; payload < 300; payload++) {
    const bytes = random.bytes(SCTP_BYTES + payload);
    const view = viewOf(bytes);
    view.setInt32(8, crc32c(bytes), true);
    const ports = random.word() | 0;
    rewriteSctpPorts(view, 0, bytes.length, ports);
    assert.is(portsWord(view, 0), ports);
    assert.is(view.getInt32(8, true), crc32c(bytes), `payload ${payload}, seed ${SEED}`);
  }
});

test('a checksum that was wrong stays wrong', () => {
  const bytes = seededRandom(SEED).bytes(40);
  const view = viewOf(bytes);
  view.setInt32(8, crc32c(bytes) ^ 1, true);
  rewriteSctpPorts(view, 0, bytes.length, 0x00500051);
  assert.is(view.getInt32(8, true), crc32c(bytes) ^ 1);
});

test.run();
