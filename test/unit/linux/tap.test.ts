/** Offloads negotiated with different kernel versions; the bits that each version accepts are listed here. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { OffloadLevel, probeOffloads } from '../../../src/linux/tap.ts';

/** TUN_F_* bits by kernel version (linux include/uapi/linux/if_tun.h). */
const KNOWN = { '5.10': 0x1f, '6.2': 0x7f, '6.17': 0x1ff };

/** A kernel rejects unknown bits, and tunnel offload without the long header. */
const kernel = (version: keyof typeof KNOWN) => (headerBytes: number, bits: number) =>
  (bits & ~KNOWN[version]) === 0 && ((bits & 0x80) === 0 || headerBytes === 24);

test('the highest level that the kernel accepts is used', () => {
  assert.equal(probeOffloads(OffloadLevel.TUNNEL, kernel('6.17')), {
    headerBytes: 24,
    tunnelOffload: true,
    udpSegmentation: true,
    segmentation: true,
  });
  assert.equal(probeOffloads(OffloadLevel.TUNNEL, kernel('6.2')), {
    headerBytes: 12,
    tunnelOffload: false,
    udpSegmentation: true,
    segmentation: true,
  });
  assert.equal(probeOffloads(OffloadLevel.TUNNEL, kernel('5.10')), {
    headerBytes: 12,
    tunnelOffload: false,
    udpSegmentation: false,
    segmentation: true,
  });
});

test('never more than requested', () => {
  assert.is(probeOffloads(OffloadLevel.UDP, kernel('6.17'))?.tunnelOffload, false);
  assert.is(probeOffloads(OffloadLevel.TCP, kernel('6.17'))?.udpSegmentation, false);
  assert.is(probeOffloads(OffloadLevel.NONE, kernel('6.17'))?.segmentation, false);
});

test('the long header is used with tunnel offload only', () => {
  const asked: [number, number][] = [];
  probeOffloads(OffloadLevel.TUNNEL, (headerBytes, bits) => asked.push([headerBytes, bits]) > 4);
  assert.equal(asked, [
    [24, 0x1ef],
    [12, 0x6f],
    [12, 0x0f],
    [12, 0x01],
    [12, 0],
  ]);
});

test('a kernel that accepts no level', () => {
  assert.is(
    probeOffloads(OffloadLevel.TUNNEL, () => false),
    undefined,
  );
});

test.run();
