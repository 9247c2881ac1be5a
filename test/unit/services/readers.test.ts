/**
 * Readers in other threads look up services while the writer changes them: they never see a partly written service, or
 * a different one.
 */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Block, ENDPOINT_PORT, ENDPOINT_WORDS } from '../../../native-free-dataplane/services/blocks.ts';
import {
  attachServices,
  blockOf,
  createServices,
  Frontend,
  FrontendKind,
  findFrontend,
  type ServiceTable,
  servicesBytes,
  targetService,
} from '../../../native-free-dataplane/services/table.ts';
import { ServiceWriter, servicePortId } from '../../../native-free-dataplane/services/writer.ts';
import { addressWords } from '../../../native-free-dataplane/wire/address.ts';

const SIZES = { slots: 16384, poolWords: 1 << 22, endpoints: 4096, affinitySlots: 64 };
const TCP = 6;
const PORT = 80;
const KEY = (TCP << 16) | PORT;
/** Services that always exist, each at two addresses; and one that comes and goes in the chains between them. */
const STABLE = 20;
const RUN_MS = 2500;

const vip = (service: number, which: number): Int32Array => addressWords(`10.96.${which}.${service + 1}`);
const nameOf = (service: number): string => `default/s${service}:/TCP`;

interface ThreadData {
  memory: SharedArrayBuffer;
  control: SharedArrayBuffer;
}

/** Every word of a version's block identifies the version: count, affinity seconds, ports and addresses. */
function contents(service: number, version: number) {
  const count = 1 + (version % 13);
  const cluster = Array.from({ length: count }, (_, i) => ({
    address: Int32Array.of(0, 0, 0xffff, (service << 24) | ((version & 0xffff) << 8) | i),
    port: version & 0xffff,
    key: `${version}/${i}`,
  }));
  return {
    name: nameOf(service),
    protocol: TCP,
    frontends: [0, 1].map((which) => ({ kind: FrontendKind.CLUSTER_IP, address: vip(service, which), port: PORT })),
    cluster,
    local: [],
    affinitySeconds: version,
    internalLocal: false,
    externalLocal: false,
    hasEndpoints: true,
    maglev: false,
    sourceRanges: [],
  };
}

/** One look-up as the stage does it; returns what is wrong with the result, or undefined. */
function inspect(table: ServiceTable, service: number, address: Int32Array): string | undefined {
  const at = findFrontend(table, address, KEY);
  if (at < 0) return 'not found';
  const block = blockOf(table, targetService(Atomics.load(table.frontends, at + Frontend.TARGET)));
  if (block === 0) return 'no block';
  const { pool } = table;
  const version = pool[block + Block.AFFINITY_SECONDS]!;
  const count = pool[block + Block.CLUSTER_COUNT]!;
  if (pool[block + Block.SERVICE_PORT] !== servicePortId(nameOf(service))) return 'block of another service';
  if (count !== 1 + (version % 13)) return `version ${version} with ${count} endpoints`;
  for (let i = 0; i < count; i++) {
    const endpoint = block + Block.ENDPOINTS + i * ENDPOINT_WORDS;
    const whole =
      pool[endpoint + ENDPOINT_PORT] === (version & 0xffff) &&
      pool[endpoint + 3] === ((service << 24) | ((version & 0xffff) << 8) | i);
    if (!whole) return `version ${version}: endpoint ${i} is of another`;
  }
  return undefined;
}

function read({ memory, control }: ThreadData): void {
  const table = attachServices(memory as unknown as ArrayBuffer)!;
  const stop = new Int32Array(control);
  const addresses = Array.from({ length: STABLE }, (_, service) => [vip(service, 0), vip(service, 1)]);
  const wrong: string[] = [];
  let looked = 0;
  let ghosts = 0;
  const ghost = vip(200, 0);
  while (Atomics.load(stop, 0) === 0) {
    for (let service = 0; service < STABLE; service++) {
      for (const address of addresses[service]!) {
        const what = inspect(table, service, address);
        if (what !== undefined && wrong.length < 5) wrong.push(`service ${service}: ${what}`);
        looked++;
      }
    }
    const what = inspect(table, 200, ghost);
    if (what === undefined) ghosts++;
    else if (what !== 'not found' && what !== 'no block' && wrong.length < 5) wrong.push(`ghost: ${what}`);
  }
  parentPort!.postMessage({ looked, ghosts, wrong });
}

if (isMainThread) {
  test('two readers run while services are added, changed and removed', async () => {
    const memory = new SharedArrayBuffer(servicesBytes(SIZES));
    const control = new SharedArrayBuffer(4);
    const table = createServices(memory as unknown as ArrayBuffer, { ...SIZES, secret: Int32Array.of(5, 6, 7, 8) });
    const writer = new ServiceWriter(table);
    for (let service = 0; service < STABLE; service++) writer.set(contents(service, 0), performance.now());
    const readers = [0, 1].map(() => new Worker(new URL(import.meta.url), { workerData: { memory, control } }));
    const results = readers.map(
      (reader) =>
        new Promise<{ looked: number; ghosts: number; wrong: string[] }>((resolve, reject) => {
          reader.once('message', resolve);
          reader.once('error', reject);
        }),
    );
    const begin = performance.now();
    let version = 0;
    while (performance.now() - begin < RUN_MS) {
      version++;
      writer.set(contents(version % STABLE, version), performance.now());
      if (version % 7 === 0) writer.set(contents(200, version), performance.now());
      if (version % 7 === 3) writer.remove(nameOf(200), performance.now());
      // The pool has room for the changes of one grace period; a pause lets readers see every version.
      if (version % 8 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    Atomics.store(new Int32Array(control), 0, 1);
    for (const { looked, ghosts, wrong } of await Promise.all(results)) {
      assert.equal(wrong, []);
      assert.ok(looked > 1000 && ghosts > 0, `${looked} look-ups, ${ghosts} of the ghost`);
    }
    assert.ok(version > 500, `${version} changes`);
  });
  test.run();
} else read(workerData as ThreadData);
