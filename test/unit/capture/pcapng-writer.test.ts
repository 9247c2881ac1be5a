/** What the pcapng writer writes: read again by our reader, and by tshark and capinfos where they are installed. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Direction, LINKTYPE_ETHERNET } from '../../../native-free-dataplane/capture/frame.ts';
import { pcapngPacket } from '../../../native-free-dataplane/capture/packet-blocks.ts';
import { nanosecondWords } from '../../../native-free-dataplane/capture/pcapng-format.ts';
import {
  pcapngInterface,
  pcapngNames,
  pcapngSection,
  pcapngStatistics,
} from '../../../native-free-dataplane/capture/pcapng-writer.ts';
import { decodeUtf8, encodeUtf8 } from '../../../native-free-dataplane/capture/utf8.ts';
import { readCapture } from '../../lib/frames/capture-file.ts';
import { concat } from '../../lib/frames/frame-builder.ts';
import { frame } from '../../lib/frames/frame-text.ts';
import { testUnless } from '../../lib/test-unless.ts';

const SYN = frame('tcp 10.244.1.2:4000 > 10.96.0.10:80 S');
const NATTED = frame('tcp 10.244.1.2:4000 > 10.244.2.3:8080 S');
const COMMENTS = ['Service: default/web', 'Prüfung: 检查'];

/** One packet before and after translation, on two interfaces, with everything the format can say of it. */
function capture(): Uint8Array {
  const at = { seconds: 1_732_000_000, nanoseconds: 123_456_789 };
  return concat(
    pcapngSection({ hardware: 'x86', os: 'Linux 6.18', application: 'dataplane 0.1.0', comments: ['a test'] }),
    pcapngInterface({
      linkType: LINKTYPE_ETHERNET,
      name: 'n1/default/client/eth0',
      description: 'pod client',
      filter: 'tcp',
    }),
    pcapngInterface({ linkType: LINKTYPE_ETHERNET, name: 'n1/dp0', snapBytes: 40 }),
    pcapngNames([
      { address: Uint8Array.of(10, 244, 1, 2), name: 'client.default.pod' },
      { address: Uint8Array.of(10, 96, 0, 10), name: 'web.default.svc' },
    ]),
    pcapngPacket(SYN, {
      source: 0,
      ...at,
      options: { flags: Direction.INBOUND, packetId: 2 ** 33 + 7, queue: 1, comments: COMMENTS },
    }),
    pcapngPacket(NATTED.subarray(0, 40), {
      source: 1,
      ...at,
      originalBytes: NATTED.length,
      options: {
        flags: Direction.OUTBOUND,
        packetId: 2 ** 33 + 7,
        dropCount: 3,
        verdicts: [{ type: 255, bytes: Uint8Array.of(1, 0, 0, 0) }],
      },
    }),
    pcapngStatistics({ source: 0, ...at, received: 10, dropped: 2 }),
  );
}

test('everything written is read back', () => {
  const { frames, damage } = readCapture(capture(), 5);
  assert.is(damage, '');
  const [before, after] = frames;
  assert.equal(new Uint8Array(before!.bytes), SYN);
  assert.equal([before!.seconds, before!.nanoseconds], [1_732_000_000, 123_456_789]);
  assert.is(before!.source.name, 'n1/default/client/eth0');
  assert.equal(before!.options, { flags: 1, packetId: 2 ** 33 + 7, queue: 1, comments: COMMENTS });
  assert.is(after!.originalBytes, NATTED.length);
  assert.is(after!.bytes.length, 40);
  assert.is(after!.options.dropCount, 3);
  assert.equal(
    after!.options.verdicts?.map(({ type, bytes }) => [type, ...bytes]),
    [[255, 1, 0, 0, 0]],
  );
});

test('times are exact to the nanosecond, beyond 32 bits of seconds', () => {
  for (const [seconds, nanoseconds] of [
    [0, 0],
    [0, 999_999_999],
    [1_732_000_000, 123_456_789],
    [4_294_967_296, 1],
    [18_446_744_072, 999_999_999],
  ] as const) {
    const [high, low] = nanosecondWords(seconds, nanoseconds);
    assert.is((BigInt(high) << 32n) + BigInt(low), BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds));
  }
});

test('text is UTF-8; invalid bytes become U+FFFD, never an exception', () => {
  for (const text of ['', 'mc3', 'Prüfung', '检查', '🙂 a', '\u0800\uffff']) {
    assert.equal(encodeUtf8(text), new Uint8Array(Buffer.from(text)));
    assert.is(decodeUtf8(Buffer.from(text)), text);
  }
  assert.is(decodeUtf8(Uint8Array.of(0x61, 0xff, 0x62)), 'a\ufffdb');
  assert.is(decodeUtf8(Uint8Array.of(0xc0, 0x80)), '\ufffd\ufffd');
  assert.is(decodeUtf8(Uint8Array.of(0xed, 0xa0, 0x80)), '\ufffd\ufffd\ufffd');
  assert.is(decodeUtf8(Uint8Array.of(0xe2, 0x82)), '\ufffd\ufffd');
  assert.equal(encodeUtf8('\ud800'), Uint8Array.of(0xef, 0xbf, 0xbd));
});

test('a comment longer than an option can be is truncated at a character boundary', () => {
  const file = concat(
    pcapngSection(),
    pcapngInterface({ linkType: LINKTYPE_ETHERNET }),
    pcapngPacket(SYN, { source: 0, seconds: 1, nanoseconds: 0, options: { comments: ['检'.repeat(30_000)] } }),
  );
  const { frames, damage } = readCapture(file);
  assert.is(damage, '');
  assert.equal(frames[0]?.options.comments, ['检'.repeat(21_845)]);
});

const missing = ['tshark', 'capinfos'].filter((program) => spawnSync(program, ['--version']).status !== 0);
const why = missing.length === 0 ? undefined : `pcapng beside Wireshark's tools (${missing.join(', ')} not installed)`;
testUnless(why)('tshark and capinfos read it as meant', () => {
  const directory = mkdtempSync(join(tmpdir(), 'pcapng-'));
  const path = join(directory, 'capture.pcapng');
  try {
    writeFileSync(path, capture());
    const fields = [
      'frame.interface_name',
      'frame.packet_id',
      'frame.comment',
      'frame.time_epoch',
      'frame.len',
      'frame.cap_len',
    ];
    const words = [
      '-r',
      path,
      '-T',
      'fields',
      '-E',
      'separator=|',
      '-E',
      'aggregator=;',
      ...fields.flatMap((f) => ['-e', f]),
    ];
    const lines = execFileSync('tshark', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
      .trim()
      .split('\n');
    const length = `${SYN.length}`;
    assert.equal(lines, [
      `n1/default/client/eth0|8589934599|${COMMENTS.join(';')}|1732000000.123456789|${length}|${length}`,
      `n1/dp0|8589934599||1732000000.123456789|${length}|40`,
    ]);
    const names = execFileSync(
      'tshark',
      ['-r', path, '-N', 'n', '-T', 'fields', '-e', 'ip.src_host', '-e', 'ip.dst_host', '-c', '1'],
      {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    );
    assert.is(names.trim(), 'client.default.pod\tweb.default.svc');
    const about = execFileSync('capinfos', [path], { encoding: 'utf8' });
    assert.match(about, 'dataplane 0.1.0');
    assert.match(about, /Number of packets:\s+2/);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test.run();
