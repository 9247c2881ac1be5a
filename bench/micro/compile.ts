/**
 * From Kubernetes objects to tables: 10,000 Services of ten endpoints from scratch, one changed endpoint, and the
 * effect of the number of Services on the first packet of a connection.
 */
import { TimeoutClass } from '../../native-free-dataplane/conntrack/timeouts.ts';
import {
  attachServices,
  createServices,
  type ServiceTable,
  servicesBytes,
} from '../../native-free-dataplane/services/table.ts';
import { ServiceWriter } from '../../native-free-dataplane/services/writer.ts';
import { ServiceSync } from '../../src/agent/services/service-sync.ts';
import { manyServices, service, slice } from '../../test/lib/services/objects.ts';
import { median, quantile } from '../lib/statistics.ts';
import { BenchNode } from './lib/bench-node.ts';
import type { Frames } from './lib/frames.ts';
import type { Fact } from './lib/results.ts';

const SERVICES = 10_000;
const ENDPOINTS = 10;
const SECRET = Int32Array.of(0x1f2e3d4c, 0x5b6a7988, 0x01234567, 0x76543210);
const MEBIBYTE = 2 ** 20;

/** Limits: all services from scratch, in time and memory; one change; the ratio of 50,000 services to 10. */
const MOST_MS = 1000;
const MOST_MIB = 64;
const CHANGE_MS = 5;
const FLAT = 1.1;

interface Loaded {
  readonly buffer: ArrayBuffer;
  readonly table: ServiceTable;
  readonly sync: ServiceSync;
}

/** An agent's service table and its writer, idle until `begin`. */
function held(): Loaded {
  let now = 0;
  const buffer = new ArrayBuffer(servicesBytes({}));
  const table = createServices(buffer, { secret: SECRET });
  const sync = new ServiceSync({
    writer: new ServiceWriter(table),
    place: { nodeName: 'n1' },
    now: () => (now += 10),
    onRemoved: () => {},
    onError: (name, error) => {
      throw new Error(`${name}: ${error.message}`);
    },
    held: true,
  });
  return { buffer, table, sync };
}

export function measure(): Fact[] {
  return [...fromNothing(), ...oneChange(), ...firstPackets()];
}

/** The API's objects, which the informers keep in any case, are not counted. */
function fromNothing(): Fact[] {
  const { gc } = globalThis as { gc?: () => void };
  const { services, slices } = manyServices(SERVICES, ENDPOINTS);
  const times: number[] = [];
  const grown: number[] = [];
  for (let round = 0; round < 3; round++) {
    const { buffer, sync } = held();
    for (const one of slices) sync.setSlice(one);
    for (const one of services) sync.setService(one);
    gc?.();
    const before = process.memoryUsage().heapUsed;
    const begin = performance.now();
    sync.begin();
    times.push(performance.now() - begin);
    gc?.();
    grown.push(process.memoryUsage().heapUsed - before + touchedBytes(buffer));
    if (attachServices(buffer) === undefined) throw new Error('the table does not hold what was written');
  }
  const what = `${SERVICES} services of ${ENDPOINTS} endpoints from nothing`;
  const facts: Fact[] = [{ name: what, value: median(times), unit: 'ms', atMost: MOST_MS }];
  const kept = { name: `${what}: kept afterwards, table and heap`, value: median(grown) / MEBIBYTE, unit: 'MiB' };
  return gc ? [...facts, { ...kept, atMost: MOST_MIB }] : facts;
}

/** Bytes of the pages that contain anything but zeros. */
function touchedBytes(buffer: ArrayBuffer): number {
  const page = 4096;
  let touched = 0;
  for (let at = 0; at < buffer.byteLength; at += page) {
    const words = new Int32Array(buffer, at, Math.min(page, buffer.byteLength - at) >> 2);
    if (words.some((word) => word !== 0)) touched += page;
  }
  return touched;
}

/** From the slice's arrival until a packet reaches the new endpoint. */
function oneChange(): Fact[] {
  const { services, slices } = manyServices(SERVICES, ENDPOINTS);
  const { sync } = held();
  for (const one of slices) sync.setSlice(one);
  for (const one of services) sync.setService(one);
  sync.begin();
  // Collect garbage from creating the objects, so that it is not attributed to the change.
  (globalThis as { gc?: () => void }).gc?.();
  const times: number[] = [];
  for (let turn = 0; turn < 2000; turn++) {
    const ready = Array.from({ length: ENDPOINTS }, (_, n) => `10.244.9.${n === 0 ? 100 + (turn & 127) : n + 1}@n1`);
    const changed = slice('s5000', ready);
    const begin = performance.now();
    sync.setSlice(changed);
    times.push(performance.now() - begin);
  }
  const what = `one endpoint of one among ${SERVICES} services, in force`;
  return [
    { name: `${what}: median`, value: quantile(times, 0.5) * 1000, unit: 'µs' },
    { name: `${what}: 99 of 100`, value: quantile(times, 0.99), unit: 'ms', atMost: CHANGE_MS },
    { name: `${what}: slowest of ${times.length}`, value: Math.max(...times), unit: 'ms' },
  ];
}

/** New connections per batch; all have expired before the next. */
const BATCH = 4000;
const ROUNDS = 60;
const TICK_MS = 64;

interface Contender {
  readonly count: number;
  readonly node: BenchNode;
  readonly frames: Frames;
  readonly times: number[];
}

/** A node with this many services, and first packets to the last of them. */
function contender(count: number): Contender {
  const { buffer, sync } = held();
  const endpoints = Array.from({ length: ENDPOINTS }, (_, n) => `10.244.2.${2 + n}@n2`);
  const address = (i: number): string => `10.${96 + (i >>> 16)}.${(i >>> 8) & 255}.${i & 255}`;
  for (let i = 0; i < count; i++) {
    sync.setSlice(slice(`s${i}`, endpoints));
    sync.setService(service(`s${i}`, address(i + 1)));
  }
  sync.begin();
  const node = new BenchNode(16_384, buffer);
  node.testNode.pod('a', '10.244.1.2').peer(2);
  node.dp.timeouts[TimeoutClass.TCP_SYN_SENT] = 1;
  const options = { tcpOptions: 'mss 1410, sackOK, ts 1 0, nop, wscale 7' };
  const syn = node.template('a', `tcp 10.244.1.2:4000 > ${address(count)}:80 S seq 0 win 64000`, options);
  return { count, node, frames: node.frames([syn]), times: [] };
}

/** Interleaved, so that other load on the machine affects all alike. */
function firstPackets(): Fact[] {
  const all = [10, 1000, 10_000, 50_000].map(contender);
  let source = 0;
  for (let round = 0; round < ROUNDS; round++) {
    for (const { node, frames, times } of round % 2 === 0 ? all : [...all].reverse()) {
      const { view } = node.pkt;
      const sent = node.sink.frames;
      const begin = performance.now();
      for (let i = 0; i < BATCH; i++) {
        frames.load();
        source = (source + 1) & 0x7fff;
        view.setUint16(node.pkt.start + 34, 0x8000 | source);
        node.process();
      }
      times.push(((performance.now() - begin) * 1e6) / BATCH);
      if (node.sink.frames !== sent + BATCH) throw new Error('first packets were lost');
      for (let i = 0; i < 20; i++) node.advance(TICK_MS);
    }
  }
  const best = all.map(({ times }) => quantile(times, 0.1));
  return all.flatMap(({ count }, i) => [
    { name: `first packet, SYN to the last of ${count} services`, value: best[i] as number, unit: 'ns', atMost: 1000 },
    ...(i > 0
      ? [
          {
            name: `first packet, ${count} services`,
            value: best[i]! / best[0]!,
            unit: 'times that of 10',
            atMost: FLAT,
          },
        ]
      : []),
  ]);
}
