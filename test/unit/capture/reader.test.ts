import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { LINKTYPE_ETHERNET } from '../../../native-free-dataplane/capture/frame.ts';
import { pcapRecord } from '../../../native-free-dataplane/capture/pcap-format.ts';
import { CaptureReader } from '../../../native-free-dataplane/capture/reader.ts';
import { printBytes } from '../../../native-free-dataplane/print/frame.ts';
import { readCapture, writeCapture } from '../../lib/frames/capture-file.ts';
import { concat } from '../../lib/frames/frame-builder.ts';
import { frame } from '../../lib/frames/frame-text.ts';
import { times } from '../../lib/long-form.ts';
import { seededRandom } from '../../lib/seeded-random.ts';
import { testUnless } from '../../lib/test-unless.ts';

const SEED = 0xcab;
const SYN = frame('tcp 10.244.1.2:4000 > 10.96.0.10:80 S');
const PING = frame('icmp 10.244.1.2 > 10.244.1.1 echo-request id 7 seq 1 len 57');

/** Numbers of so many bits each, one after another. */
function words(little: boolean, ...fields: [bits: 8 | 16 | 32, value: number][]): Uint8Array {
  const bytes = new Uint8Array(fields.reduce((sum, [bits]) => sum + bits / 8, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [bits, value] of fields) {
    if (bits === 8) view.setUint8(at, value);
    else if (bits === 16) view.setUint16(at, value, little);
    else view.setUint32(at, value, little);
    at += bits / 8;
  }
  return bytes;
}

function classic(little: boolean, magic: number, fraction: number, frames: Uint8Array[]): Uint8Array {
  const header = words(little, [32, magic], [16, 2], [16, 4], [32, 0], [32, 0], [32, 65535], [32, 1]);
  const records = frames.map((bytes) =>
    concat(words(little, [32, 1700000000], [32, fraction], [32, bytes.length], [32, bytes.length + 4]), bytes),
  );
  return concat(header, ...records);
}

function block(little: boolean, type: number, body: Uint8Array): Uint8Array {
  const padded = concat(body, new Uint8Array(-body.length & 3));
  const bytes = 12 + padded.length;
  return concat(words(little, [32, type], [32, bytes]), padded, words(little, [32, bytes]));
}

const section = (little: boolean): Uint8Array =>
  block(little, 0x0a0d0d0a, words(little, [32, 0x1a2b3c4d], [16, 1], [16, 0], [32, 0xffffffff], [32, 0xffffffff]));

/** Interface description; `resolution` is the if_tsresol byte, none when undefined. */
const description = (little: boolean, snap = 0, resolution?: number): Uint8Array => {
  const option =
    resolution === undefined ? [] : [words(little, [16, 9], [16, 1], [8, resolution], [8, 0], [8, 0], [8, 0], [32, 0])];
  return block(little, 1, concat(words(little, [16, 1], [16, 0], [32, snap]), ...option));
};

const enhanced = (little: boolean, units: bigint, bytes: Uint8Array, of = 0): Uint8Array => {
  const [high, low] = [Number(units >> 32n), Number(units & 0xffffffffn)];
  return block(
    little,
    6,
    concat(words(little, [32, of], [32, high], [32, low], [32, bytes.length], [32, bytes.length]), bytes),
  );
};

test('what is written is read back', () => {
  const frames = [SYN, PING].map((bytes, i) => ({ bytes, seconds: 1700000000 + i, nanoseconds: 999_999_999 - i }));
  const { frames: again, damage } = readCapture(writeCapture(frames));
  assert.is(damage, '');
  assert.equal(
    again.map(({ bytes, seconds, nanoseconds }) => ({ bytes: new Uint8Array(bytes), seconds, nanoseconds })),
    frames,
  );
  assert.equal(
    again.map(({ source }) => source.linkType),
    [LINKTYPE_ETHERNET, LINKTYPE_ETHERNET],
  );
});

test('an empty capture, and a truncated frame that keeps its original length', () => {
  assert.equal(readCapture(writeCapture([])), { frames: [], damage: '' });
  const file = concat(writeCapture([]), pcapRecord(SYN.subarray(0, 20), 1, 2, SYN.length));
  assert.is(readCapture(file).frames[0]?.originalBytes, SYN.length);
});

test('classic pcap of both byte orders and both resolutions', () => {
  for (const little of [true, false]) {
    for (const [magic, fraction] of [
      [0xa1b2c3d4, 123456],
      [0xa1b23c4d, 123456000],
    ] as const) {
      const { frames, damage } = readCapture(classic(little, magic, fraction, [SYN, PING]));
      assert.is(damage, '');
      assert.equal(
        frames.map(({ seconds, nanoseconds }) => [seconds, nanoseconds]),
        [
          [1700000000, 123456000],
          [1700000000, 123456000],
        ],
      );
      assert.is(frames[1]?.originalBytes, PING.length + 4);
      assert.is(printBytes(frames[0]?.bytes ?? new Uint8Array(0), true), 'tcp 10.244.1.2:4000 > 10.96.0.10:80 S');
    }
  }
});

test('pcapng of both byte orders; times to the nanosecond', () => {
  for (const little of [true, false]) {
    const file = concat(
      section(little),
      description(little),
      description(little, 0, 9),
      enhanced(little, 1_700_000_000_123_456n, SYN),
      enhanced(little, 1_700_000_000_123_456_789n, PING, 1),
      block(little, 0x0bad, Uint8Array.of(1, 2, 3)),
      enhanced(little, 1_699_999_999_999_999_999n, PING, 1),
    );
    const { frames, damage } = readCapture(file);
    assert.is(damage, '');
    assert.equal(
      frames.map(({ seconds, nanoseconds }) => [seconds, nanoseconds]),
      [
        [1700000000, 123456000],
        [1700000000, 123456789],
        [1699999999, 999999999],
      ],
    );
    assert.equal(new Uint8Array(frames[1]?.bytes ?? []), PING);
  }
});

test('pcapng: simple packets are limited to the snap length, sections start over', () => {
  const simple = block(true, 3, concat(words(true, [32, PING.length]), PING.subarray(0, 40)));
  const file = concat(
    section(true),
    description(true, 40),
    simple,
    section(false),
    description(false),
    enhanced(false, 5n, SYN),
  );
  const { frames, damage } = readCapture(file);
  assert.is(damage, '');
  assert.equal(
    frames.map(({ bytes }) => bytes.length),
    [40, SYN.length],
  );
  assert.is(frames[0]?.originalBytes, PING.length);
  assert.match(
    readCapture(concat(section(true), enhanced(true, 5n, SYN))).damage,
    'interface 0, which the file does not describe',
  );
});

test('a damaged file yields the frames before the damage, and its position', () => {
  const whole = classic(true, 0xa1b2c3d4, 0, [SYN, PING]);
  assert.match(readCapture(whole.subarray(0, whole.length - 1)).damage, /ends in the middle of a record at byte \d+/);
  assert.is(readCapture(whole.subarray(0, whole.length - 1)).frames.length, 1);
  assert.match(readCapture(whole.subarray(0, 24 + 16 + SYN.length + 3)).damage, 'in the middle of a record');
  const huge = whole.slice();
  new DataView(huge.buffer).setUint32(24 + 8, 0x7fffffff, true);
  assert.match(readCapture(huge).damage, 'record of 2147483647 bytes');
  assert.match(readCapture(new Uint8Array(3)).damage, 'too short');
  assert.match(readCapture(new Uint8Array(64)).damage, 'neither');
});

test('random and mutated files: reading ends, never throws, and no frame lies outside the file', () => {
  const random = seededRandom(SEED);
  const seeds = [
    classic(true, 0xa1b2c3d4, 0, [SYN, PING]),
    classic(false, 0xa1b23c4d, 0, [SYN, PING]),
    concat(section(true), description(true, 0, 9), enhanced(true, 5n, SYN), enhanced(true, 6n, PING)),
  ];
  for (let i = 0; i < times(5000, 20_000); i++) {
    const file = (seeds[i % seeds.length] ?? new Uint8Array(0)).slice();
    for (let flips = 1 + random.below(6); flips > 0; flips--) file[random.below(file.length)] = random.word();
    const { frames } = readCapture(file.subarray(0, random.below(2) === 0 ? file.length : random.below(file.length)));
    assert.ok(
      frames.every(({ bytes }) => bytes.length <= file.length),
      `step ${i}, seed ${SEED}`,
    );
  }
});

test('a fraction beyond a second is carried over', () => {
  const file = writeCapture([{ bytes: new Uint8Array(60), seconds: 5, nanoseconds: 7 }]);
  new DataView(file.buffer).setUint32(24 + 4, 2_000_000_007, true);
  const [frame] = readCapture(file).frames;
  assert.equal([frame?.seconds, frame?.nanoseconds], [7, 7]);
});

const hexBytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));

test('a file read in pieces of any size gives the same frames', () => {
  const files = [
    classic(false, 0xa1b2c3d4, 7, [SYN, PING, SYN]),
    concat(section(true), description(true, 0, 9), enhanced(true, 5n, SYN), enhanced(true, 6n, PING)),
  ];
  for (const file of files) {
    const whole = readCapture(file);
    assert.is(whole.damage, '');
    for (const chunkBytes of [1, 2, 3, 7, 16, 61]) assert.equal(readCapture(file, chunkBytes), whole);
  }
});

test('16 million empty records need no more memory than one piece of the file', () => {
  const records = new Uint8Array(16 * 65536);
  const reader = new CaptureReader();
  reader.push(writeCapture([]));
  let frames = 0;
  const count = () => {
    while (reader.next() !== undefined) frames++;
  };
  count();
  const before = process.memoryUsage().heapUsed;
  let most = 0;
  for (let piece = 0; piece < 256; piece++) {
    reader.push(records);
    count();
    if (piece % 32 === 0) most = Math.max(most, process.memoryUsage().heapUsed - before);
  }
  reader.end();
  assert.is(reader.damage, '');
  assert.is(frames, 256 * 65536);
  // All records at once are 1.6 GB. What is not collected yet counts too, which is more in a process with other tests' heap.
  assert.ok(most < 800e6, `${most} bytes of heap`);
});

test('the obsolete packet block is read, with its drop count', () => {
  // A section, an Ethernet interface and one packet block of type 2, as Wireshark wrote them until 2005.
  const file = hexBytes(
    '0a0d0d0a1c0000004d3c2b1a01000000ffffffffffffffff1c000000 010000001400000001000000000000001400000002000000300000000000' +
      '0000240a060000401e180e0000000e00000002000000000102000000000288b5000030000000',
  );
  const { frames, damage } = readCapture(file);
  assert.is(damage, '');
  assert.is(frames.length, 1);
  assert.is(frames[0]?.bytes.length, 14);
  const counted = concat(
    section(true),
    description(true),
    block(true, 2, concat(words(true, [16, 0], [16, 5], [32, 0], [32, 1], [32, 4], [32, 60]), new Uint8Array(4))),
  );
  assert.equal(readCapture(counted).frames[0]?.options, { dropCount: 5 });
  assert.is(readCapture(counted).frames[0]?.originalBytes, 60);
});

test('the modified pcap has a record header of 24 bytes', () => {
  const record = concat(
    words(true, [32, 9], [32, 8], [32, SYN.length], [32, SYN.length], [32, 2], [16, 0x0800], [8, 0], [8, 0]),
    SYN,
  );
  const file = concat(classic(true, 0xa1b2cd34, 0, []), record, record);
  const { frames, damage } = readCapture(file);
  assert.is(damage, '');
  assert.equal(
    frames.map(({ bytes, seconds }) => [Buffer.compare(bytes, SYN), seconds]),
    [
      [0, 9],
      [0, 9],
    ],
  );
});

test("a record longer than its file's snap length is truncated to it, and the rest skipped", () => {
  const file = classic(true, 0xa1b2c3d4, 0, [SYN, PING]);
  new DataView(file.buffer).setUint32(16, 20, true);
  const { frames, damage } = readCapture(file);
  assert.is(damage, '');
  assert.equal(
    frames.map(({ bytes }) => bytes.length),
    [20, 20],
  );
});

test('before version 2.3 the original length comes first; in 2.3 the smaller is the captured length', () => {
  const ofVersion = (minor: number, first: number, second: number) => {
    const file = concat(
      classic(true, 0xa1b2c3d4, 0, []),
      words(true, [32, 1], [32, 2], [32, first], [32, second]),
      new Uint8Array(20),
    );
    new DataView(file.buffer).setUint16(6, minor, true);
    const [frame] = readCapture(file).frames;
    return [frame?.bytes.length, frame?.originalBytes];
  };
  assert.equal(ofVersion(2, 60, 20), [20, 60]);
  assert.equal(ofVersion(3, 60, 20), [20, 60]);
  assert.equal(ofVersion(3, 20, 60), [20, 60]);
  assert.equal(ofVersion(4, 20, 60), [20, 60]);
});

test('versions, lengths and options that libpcap rejects are rejected, with the reason', () => {
  const version = (major: number, minor: number) => {
    const file = concat(section(true), description(true), enhanced(true, 1n, SYN));
    new DataView(file.buffer).setUint16(12, major, true);
    new DataView(file.buffer).setUint16(14, minor, true);
    return readCapture(file).damage;
  };
  assert.match(version(2, 0), 'pcapng version 2.0 is not supported');
  assert.match(version(1, 3), 'pcapng version 1.3 is not supported');
  assert.is(version(1, 2), '');
  const old = classic(true, 0xa1b2c3d4, 0, [SYN]);
  new DataView(old.buffer).setUint16(4, 3, true);
  new DataView(old.buffer).setUint16(6, 0, true);
  assert.match(readCapture(old).damage, 'pcap version 3.0 is not supported');

  const differs = concat(section(true), description(true), enhanced(true, 1n, SYN));
  differs[differs.length - 4] = 12;
  assert.match(readCapture(differs).damage, 'that ends as one of 12');
  assert.match(
    readCapture(block(true, 0x0a0d0d0a, words(true, [32, 0x1a2b3c4d]))).damage,
    /section header cut short|middle of a record/,
  );
  const optionsOf = (...options: Uint8Array[]) =>
    readCapture(
      concat(
        section(true),
        block(true, 1, concat(words(true, [16, 1], [16, 0], [32, 0]), ...options)),
        enhanced(true, 5n, SYN),
      ),
    ).damage;
  assert.match(optionsOf(words(true, [16, 2], [16, 8], [32, 0])), 'option that leaves its block');
  assert.match(optionsOf(words(true, [16, 9], [16, 2], [32, 0])), 'time resolution of 2 bytes');
  assert.match(optionsOf(words(true, [16, 9], [16, 1], [32, 20])), 'too fine');
  assert.match(optionsOf(words(true, [16, 9], [16, 1], [32, 6], [16, 9], [16, 1], [32, 6])), 'two time resolutions');
  assert.match(optionsOf(words(true, [16, 14], [16, 4], [32, 0])), 'time offset of 4 bytes');
});

test('the time offset of an interface is added, and its check sequence and names are kept', () => {
  const text = (code: number, value: string): Uint8Array =>
    concat(words(true, [16, code], [16, value.length]), Buffer.from(value), new Uint8Array(-value.length & 3));
  const offset = words(true, [16, 14], [16, 8], [32, 1_000_000], [32, 0]);
  const fcs = words(true, [16, 13], [16, 1], [32, 4]);
  const file = concat(
    section(true),
    block(
      true,
      1,
      concat(words(true, [16, 1], [16, 0], [32, 0]), text(2, 'n1/default/mc3/eth0'), text(3, 'a pod'), offset, fcs),
    ),
    enhanced(true, 5_000_000n, SYN),
  );
  const { frames, damage } = readCapture(file);
  assert.is(damage, '');
  assert.is(frames[0]?.seconds, 1_000_005);
  assert.is(frames[0]?.source.fcsBytes, 4);
  assert.is(frames[0]?.source.name, 'n1/default/mc3/eth0');
  assert.is(frames[0]?.source.description, 'a pod');
});

test("options that extend beyond a packet's block are dropped, the packet is kept", () => {
  const body = concat(words(true, [32, 0], [32, 0], [32, 1], [32, 4], [32, 4]), new Uint8Array(4));
  const bad = block(true, 6, concat(body, words(true, [16, 1], [16, 60])));
  const { frames, damage } = readCapture(concat(section(true), description(true), bad, enhanced(true, 1n, SYN)));
  assert.is(damage, '');
  assert.is(frames.length, 2);
  assert.equal(frames[0]?.options, {});
});

/** A directory of captures to replay, such as the ones of tcpdump's own tests. */
const directory = process.env.DATAPLANE_PCAPS;
const why = directory ? undefined : 'replay of captures (DATAPLANE_PCAPS names no directory)';
testUnless(why)('captures of real protocols: every frame is read and printed', () => {
  let files = 0;
  let frames = 0;
  for (const name of readdirSync(directory ?? '').filter((file) => /\.(pcap|pcapng|cap)$/.test(file))) {
    const capture = readCapture(readFileSync(join(directory ?? '', name)));
    files++;
    for (const { bytes, source } of capture.frames) {
      frames++;
      for (const brief of [true, false]) {
        const text = printBytes(bytes, brief);
        assert.ok(text.length > 0 && !text.includes('\n'), name);
        assert.not.match(text, /undefined|NaN/, name);
      }
      assert.ok(Number.isInteger(source.linkType), name);
    }
  }
  assert.ok(files > 0 && frames > 0, `no captures in ${directory}`);
  console.log(`replayed ${frames} frames of ${files} captures`);
});

test.run();
