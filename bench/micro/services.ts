/**
 * Services: a look-up among 10 to 50,000 of them, and the choice of an endpoint. The cost of applying them is measured
 * in compile.ts.
 */
import Benchmark from 'benchmark';
import { PROTOCOL_TCP as TCP } from '../../native-free-dataplane/protocols.ts';
import {
  createServices,
  findFrontend,
  type ServiceTable,
  servicesBytes,
} from '../../native-free-dataplane/services/table.ts';
import { ServiceWriter } from '../../native-free-dataplane/services/writer.ts';
import { chooseService } from '../../native-free-dataplane/stages/service.ts';
import { addressWords } from '../../native-free-dataplane/wire/address.ts';
import { ServiceSync } from '../../src/agent/services/service-sync.ts';
import { manyServices } from '../../test/lib/services/objects.ts';
import { TestNode } from '../../test/lib/test-node.ts';

const ENDPOINTS = 10;
const HTTP = (TCP << 16) | 80;
const SECRET = Int32Array.of(0x1f2e3d4c, 0x5b6a7988, 0x01234567, 0x76543210);

interface Loaded {
  table: ServiceTable;
  sync: ServiceSync;
  addresses: Int32Array[];
}

function emptyTable(): ServiceTable {
  return createServices(new ArrayBuffer(servicesBytes({})), { secret: SECRET });
}

function syncOver(table: ServiceTable): ServiceSync {
  let now = 0;
  return new ServiceSync({
    writer: new ServiceWriter(table),
    place: { nodeName: 'n1' },
    now: () => (now += 10),
    onRemoved: () => {},
    onError: (service, error) => {
      throw new Error(`${service}: ${error.message}`);
    },
    held: true,
  });
}

function load(count: number): Loaded {
  const { services, slices } = manyServices(count, ENDPOINTS);
  const table = emptyTable();
  const sync = syncOver(table);
  for (const one of slices) sync.setSlice(one);
  for (const one of services) sync.setService(one);
  sync.begin();
  return { table, sync, addresses: services.map(({ spec }) => addressWords(spec.clusterIP!)) };
}

/** Sum of the results, so that the compiler cannot remove the code. */
export let sink = 0;

export const suite = new Benchmark.Suite();

for (const count of [10, 1000, 10_000, 50_000]) {
  let loaded: Loaded | undefined;
  let next = 0;
  suite.add(`look-up among ${count} services`, {
    onStart: () => {
      loaded = load(count);
    },
    fn: () => {
      const { table, addresses } = loaded!;
      // The step is coprime to every count, so that consecutive look-ups are not neighbours.
      next = (next + 7919) % count;
      sink += findFrontend(table, addresses[next]!, HTTP);
    },
    onComplete: () => {
      loaded = undefined;
    },
  });
}

const node = new TestNode().pod('a', '10.244.1.2').peer(2);
const endpoints = Array.from({ length: ENDPOINTS }, (_, i) => `10.244.2.${i + 2}:80`);
node.service('tcp 10.96.0.10:80', { endpoints });
node.service('tcp 10.96.0.11:80', { endpoints, maglev: true });
node.service('tcp 10.96.0.12:80', { endpoints, affinitySeconds: 10800 });
for (const [title, address] of [
  ['at random', '10.96.0.10'],
  ['by Maglev', '10.96.0.11'],
  ['with affinity', '10.96.0.12'],
] as const) {
  suite.add(`choose an endpoint ${title}`, () => {
    const { pkt, dataplane } = node;
    prepare(address);
    sink += chooseService(pkt, dataplane) + pkt.endpoint;
  });
}

const asked = new Map<string, Int32Array>();
const client = addressWords('10.244.1.2');

function prepare(address: string): void {
  let words = asked.get(address);
  if (!words) {
    words = addressWords(address);
    asked.set(address, words);
  }
  const { pkt } = node;
  pkt.inPort = 1;
  pkt.protocol = TCP;
  pkt.src.set(client);
  pkt.dst.set(words);
  pkt.srcPort = (pkt.srcPort + 1) & 0xffff;
  pkt.dstPort = 80;
  pkt.dnat = 0;
}
