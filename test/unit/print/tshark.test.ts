/**
 * The printer says of a frame what tshark says: addresses, ports, sequence numbers, flags with AE and the reserved bits,
 * windows, lengths, ICMP types, VNIs and what is inside of tunnels, for frames of every kind and random values. TSHARK names
 * another tshark, PRINT_CAPTURE a capture file whose frames are compared as well, PRINT_SEED another sequence.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { printBytes } from '../../../native-free-dataplane/print/frame.ts';
import { icmpName } from '../../../native-free-dataplane/print/icmp-names.ts';
import { readCapture, writeCapture } from '../../lib/frames/capture-file.ts';
import { viewOf } from '../../lib/frames/frame-builder.ts';
import { frame, packet } from '../../lib/frames/frame-text.ts';
import { seededRandom } from '../../lib/seeded-random.ts';

const TSHARK = process.env.TSHARK ?? 'tshark';
const { PRINT_CAPTURE } = process.env;
const random = seededRandom(Number(process.env.PRINT_SEED ?? 1));
const upTo = (limit: number): number => random.below(limit);
const FRAMES = 400;
/** Offset of the flags' word in a TCP frame, and of a UDP header's own length. */
const TCP_FLAGS = 14 + 20 + 12;
const UDP_LENGTH = 14 + 20 + 4;

const ip = (): string => `10.${upTo(256)}.${upTo(256)}.${1 + upTo(254)}`;
const port = (): number => 1024 + upTo(60000);

function tcp(): Uint8Array {
  const options = ['', ' <mss 1410, wscale 7>', ' <nop, nop, sackOK>'][upTo(3)];
  const text = `tcp ${ip()}:${port()} > ${ip()}:${port()} SA seq ${upTo(2 ** 32)} ack ${upTo(2 ** 32)} win ${upTo(65536)}`;
  const bytes = frame(`${text}${options} len ${upTo(40)}`);
  const view = viewOf(bytes);
  // Any combination of the twelve bits; the data offset stays.
  view.setUint16(TCP_FLAGS, (view.getUint16(TCP_FLAGS) & 0xf000) | upTo(4096));
  return bytes;
}

function udp(): Uint8Array {
  const bytes = frame(`udp ${ip()}:${port()} > ${ip()}:${port()} len ${20 + upTo(40)}`);
  // A length of its own, shorter than the packet's.
  if (upTo(3) === 0) viewOf(bytes).setUint16(UDP_LENGTH, 8 + upTo(20));
  return bytes;
}

function gre(): Uint8Array {
  const inner = packet(`udp ${ip()}:${port()} > ${ip()}:${port()} len 20`);
  const bytes = frame(`gre ${ip()} > ${ip()} len ${4 + inner.length}`);
  bytes.set([0, 0, 8, 0, ...inner], 34);
  return bytes;
}

function version6(): Uint8Array {
  const bytes = frame(`udp [fd00::${upTo(99) + 1}]:${port()} > [fd00::5]:${port()} len 8`);
  viewOf(bytes).setUint16(12, 0x0800);
  return bytes;
}

const KINDS: readonly (() => Uint8Array)[] = [
  tcp,
  tcp,
  udp,
  gre,
  version6,
  () => frame(`udp [fd00::${upTo(99) + 1}]:${port()} > [fd00::5]:${port()} len ${upTo(30)}`),
  () =>
    frame(
      `icmp ${ip()} > ${ip()} ${['echo-request', 'echo-reply', 'timestamp-request'][upTo(3)]} id ${upTo(65536)} seq 1 len 30`,
    ),
  () =>
    frame(
      `icmp ${ip()} > ${ip()} unreachable ${['port', 'host', 'network'][upTo(3)]} (udp ${ip()}:5 > ${ip()}:6 len 9)`,
    ),
  () =>
    frame(
      `vxlan ${ip()}:50000 > ${ip()}:4789 vni ${upTo(2 ** 24)} (tcp ${ip()}:${port()} > ${ip()}:${port()} PA seq 5 ack 6 len 7)`,
    ),
  () => frame(`ipip ${ip()} > ${ip()} (udp ${ip()}:${port()} > ${ip()}:${port()} len 12)`),
  () => frame(`udp ${ip()} > ${ip()} len 64 frag id ${upTo(65536)} offset ${8 * (1 + upTo(100))}`),
];

const FIELDS = [
  'ip.src,ip.dst',
  'ipv6.src,ipv6.dst',
  'tcp.srcport,tcp.dstport,tcp.seq_raw,tcp.flags,tcp.window_size_value',
  'udp.srcport,udp.dstport,udp.length',
  'icmp.type,icmp.code',
  'vxlan.vni',
] as const;

type Said = Record<(typeof FIELDS)[number], string[]>;

/** What tshark finds in each frame: the values of each group of fields, once for each header, outermost first. */
function ofTshark(file: string): Said[] {
  const settings = ['tcp.relative_sequence_numbers:FALSE', 'ip.defragment:FALSE', 'tcp.desegment_tcp_streams:FALSE'];
  const args = ['-r', file, '-T', 'fields', '-E', 'separator=|', '-E', 'occurrence=a'];
  for (const setting of settings) args.push('-o', setting);
  // Contents are of no interest, and another program's guess about them may end the dissection.
  for (const protocol of ['dns', 'quic', 'rtp', 'rtcp', 'stun']) args.push('--disable-protocol', protocol);
  for (const field of FIELDS.join().split(',')) args.push('-e', field);
  const run = spawnSync(TSHARK, args, { encoding: 'utf8', maxBuffer: 1 << 28 });
  assert.is(run.status, 0, run.stderr);
  return run.stdout
    .trimEnd()
    .split('\n')
    .map((line) => {
      const columns = line.split('|').map((column) => (column === '' ? [] : column.split(',')));
      const said = {} as Said;
      for (const group of FIELDS) {
        const mine = columns.splice(0, group.split(',').length);
        said[group] = mine[0]!.map((_, i) => mine.map((column) => column[i]).join(' '));
      }
      return said;
    });
}

const FLAG_BITS: Readonly<Record<string, number>> = {
  F: 1,
  S: 2,
  R: 4,
  P: 8,
  A: 16,
  U: 32,
  E: 64,
  C: 128,
  e: 256,
  '-': 0,
};

const flagsOf = (letters: string, reserved: string | undefined): string => {
  const bits = [...letters].reduce((sum, letter) => sum + FLAG_BITS[letter]!, 0) + (Number(reserved ?? 0) << 9);
  return `0x${bits.toString(16).padStart(4, '0')}`;
};

const PAIR =
  /(\[[^\]]+\]|(?:\d+\.){3}\d+|[0-9a-f:]*::[0-9a-f]+)(?::(\d+))? > (\[[^\]]+\]|(?:\d+\.){3}\d+|[0-9a-f:]*::[0-9a-f]+)(?::(\d+))?/g;
const bare = (text: string): string => text.replace(/[[\]]/g, '');

/** The same, from our line. */
function ofOurs(text: string): Said {
  const said = Object.fromEntries(FIELDS.map((group) => [group, [] as string[]])) as Said;
  // Each header's own words: up to the next parenthesis.
  for (const part of text.split(/[()]/)) {
    const [match] = part.matchAll(PAIR);
    if (match === undefined) continue;
    const [, source = '', srcPort, destination = '', dstPort] = match;
    said[source.includes(':') ? 'ipv6.src,ipv6.dst' : 'ip.src,ip.dst'].push(`${bare(source)} ${bare(destination)}`);
    const [protocol] = part.trim().split(' ');
    const after = part.slice(match.index! + match[0].length).trim();
    if (protocol === 'tcp') {
      const [letters = ''] = after.split(' ');
      const seq = /seq (\d+)/.exec(after)?.[1];
      const win = /win (\d+)/.exec(after)?.[1];
      const flags = flagsOf(letters, /reserved (\d)/.exec(after)?.[1]);
      said['tcp.srcport,tcp.dstport,tcp.seq_raw,tcp.flags,tcp.window_size_value'].push(
        `${srcPort} ${dstPort} ${seq} ${flags} ${win}`,
      );
    }
    if ((protocol === 'udp' || protocol === 'vxlan') && srcPort !== undefined) {
      // A tunnel's line has no length of its own: it is that of what is inside.
      const own = protocol === 'vxlan' ? 'inside' : String(8 + Number(/len (\d+)/.exec(after)?.[1] ?? 0));
      said['udp.srcport,udp.dstport,udp.length'].push(`${srcPort} ${dstPort} ${own}`);
    }
    if (protocol === 'vxlan') said['vxlan.vni'].push(/vni (\d+)/.exec(after)![1]!);
  }
  return said;
}

function compare(frames: readonly Uint8Array[], file: string): number {
  const theirs = ofTshark(file);
  assert.is(theirs.length, frames.length);
  let compared = 0;
  for (const [i, bytes] of frames.entries()) {
    const text = printBytes(bytes);
    const ours = ofOurs(text);
    const their = theirs[i]!;
    for (const group of FIELDS) {
      if (group === 'icmp.type,icmp.code') {
        for (const pair of their[group]) {
          const [type, code] = pair.split(' ').map(Number);
          assert.ok(text.includes(icmpName(type!, code!)), `${text}: tshark finds ICMP ${pair}`);
        }
        continue;
      }
      const mine = ours[group].map((one, n) => one.replace('inside', their[group][n]?.split(' ')[2] ?? ''));
      assert.equal(mine, their[group], `${text}: ${group}`);
      compared += mine.length;
    }
  }
  return compared;
}

const version = spawnSync(TSHARK, ['--version'], { encoding: 'utf8' });
if (version.status !== 0) {
  console.log(`skipped: no tshark (${TSHARK}); \`apt install tshark\`, or TSHARK=… npm test`);
  test.skip('what tshark finds in frames of every kind is what is printed', () => {});
} else {
  const directory = mkdtempSync(join(tmpdir(), 'dataplane-print-'));
  const file = join(directory, 'frames.pcap');
  test.after(() => rmSync(directory, { recursive: true, force: true }));

  test('what tshark finds in frames of every kind is what is printed', () => {
    const frames = Array.from({ length: FRAMES }, (_, i) => KINDS[i % KINDS.length]!());
    writeFileSync(file, writeCapture(frames.map((bytes, i) => ({ bytes, seconds: i, nanoseconds: 0 }))));
    assert.ok(compare(frames, file) > 2 * FRAMES, 'enough fields were compared');
  });

  if (PRINT_CAPTURE !== undefined) {
    test(`what tshark finds in ${PRINT_CAPTURE} is what is printed`, () => {
      compare(
        readCapture(readFileSync(PRINT_CAPTURE)).frames.map(({ bytes }) => bytes),
        PRINT_CAPTURE,
      );
    });
  }
}

test.run();
