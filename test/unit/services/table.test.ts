import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Block, BlockPool } from '../../../native-free-dataplane/services/blocks.ts';
import type { ServicePortContents } from '../../../native-free-dataplane/services/contents.ts';
import { viewFrontends, viewService } from '../../../native-free-dataplane/services/inspect.ts';
import {
  attachServices,
  countEndpointPacket,
  createServices,
  FRONTEND_WORDS,
  FrontendKind,
  findFrontend,
  type ServiceTable,
  servicesBytes,
} from '../../../native-free-dataplane/services/table.ts';
import { ServiceWriter } from '../../../native-free-dataplane/services/writer.ts';
import { addressWords } from '../../../native-free-dataplane/wire/address.ts';
import { seededRandom } from '../../lib/seeded-random.ts';

const SIZES = { slots: 256, poolWords: 65536, endpoints: 512, affinitySlots: 64 };
const SECRET = Int32Array.of(1, 2, 3, 4);
const TCP = 6;
const UDP = 17;

function table(sizes: Partial<typeof SIZES> = {}): ServiceTable {
  const all = { ...SIZES, ...sizes };
  return createServices(new ArrayBuffer(servicesBytes(all)), { ...all, secret: SECRET });
}

/** `vips` as address:port, `np:PORT` for a NodePort, `ext:`/`lb:` in front for the other kinds. */
function contents(
  name: string,
  vips: string[],
  endpoints: string[],
  more: Partial<ServicePortContents> = {},
): ServicePortContents {
  return {
    name,
    protocol: TCP,
    frontends: vips.map((text) => {
      const kinds = { np: FrontendKind.NODE_PORT, ext: FrontendKind.EXTERNAL_IP, lb: FrontendKind.LOAD_BALANCER };
      const [prefix = '', rest = ''] = /^(np|ext|lb):(.*)$/.exec(text)?.slice(1) ?? ['', text];
      const kind = kinds[prefix as keyof typeof kinds] ?? FrontendKind.CLUSTER_IP;
      if (kind === FrontendKind.NODE_PORT) return { kind, address: new Int32Array(4), port: Number(rest) };
      const [ip = '', port = ''] = rest.split(':');
      return { kind, address: addressWords(ip), port: Number(port) };
    }),
    cluster: endpoints.map((text) => {
      const [ip = '', port = ''] = text.split(':');
      return { address: addressWords(ip), port: Number(port), key: text };
    }),
    local: [],
    affinitySeconds: 0,
    internalLocal: false,
    externalLocal: false,
    hasEndpoints: endpoints.length > 0,
    maglev: false,
    sourceRanges: [],
    ...more,
  };
}

/** Ports of the endpoints an address leads to, or undefined when it leads nowhere. */
function ports(of: ServiceTable, vip: string, protocol = TCP): number[] | undefined {
  const [ip = '', port = ''] = vip.split(':');
  const address = ip === 'np' ? undefined : addressWords(ip);
  return viewService(of, protocol, Number(port), address)?.cluster.map((endpoint) => endpoint.port);
}

const isVip = (of: ServiceTable, ip: string): boolean => findFrontend(of, addressWords(ip), 0) >= 0;

test('all addresses of a service port lead to one block and change with one store', () => {
  const t = table();
  const w = new ServiceWriter(t);
  const vips = ['10.96.0.1:80', 'ext:192.0.2.1:80', 'lb:192.0.2.2:80', 'np:30080'];
  assert.ok(w.set(contents('a', vips, ['10.0.0.1:1', '10.0.0.2:2']), 0));
  const places = ['10.96.0.1:80', '192.0.2.1:80', '192.0.2.2:80', 'np:30080'];
  for (const place of places) assert.equal(ports(t, place), [1, 2], place);
  const before = t.frontends.slice();
  const chains = t.chains.slice();
  w.set(contents('a', vips, ['10.0.0.3:3']), 1);
  for (const place of places) assert.equal(ports(t, place), [3], place);
  assert.equal(t.frontends, before, 'frontends are left alone when only endpoints change');
  assert.equal(t.chains, chains);
});

test('protocol and port are part of the key; an address is known while any port has it', () => {
  const t = table();
  const w = new ServiceWriter(t);
  w.set(contents('dns-tcp', ['10.96.0.10:53'], ['10.0.0.1:1']), 0);
  w.set(contents('dns-udp', ['10.96.0.10:53'], ['10.0.0.1:2'], { protocol: UDP }), 0);
  assert.equal(
    [ports(t, '10.96.0.10:53'), ports(t, '10.96.0.10:53', UDP), ports(t, '10.96.0.10:54')],
    [[1], [2], undefined],
  );
  w.remove('dns-tcp', 0);
  assert.equal([ports(t, '10.96.0.10:53'), ports(t, '10.96.0.10:53', UDP)], [undefined, [2]]);
  assert.ok(isVip(t, '10.96.0.10'));
  w.remove('dns-udp', 0);
  assert.not.ok(isVip(t, '10.96.0.10'));
  assert.is(viewFrontends(t).length, 0);
});

test('setting the same again writes nothing', () => {
  const t = table();
  const w = new ServiceWriter(t);
  const all = contents('a', ['10.96.0.1:80', 'np:30000'], ['10.0.0.1:1'], { affinitySeconds: 60, maglev: true });
  assert.ok(w.set(all, 0));
  const block = w.blockOf('a');
  assert.not.ok(w.set(all, 0));
  assert.is(w.blockOf('a'), block);
  assert.ok(w.set({ ...all, affinitySeconds: 61 }, 0));
});

test('an address moves: the new one is inserted before the old one is removed', () => {
  const t = table();
  const w = new ServiceWriter(t);
  w.set(contents('a', ['10.96.0.1:80', 'np:30000'], ['10.0.0.1:1']), 0);
  w.set(contents('a', ['10.96.0.2:80', 'np:30001'], ['10.0.0.1:1']), 0);
  assert.equal([ports(t, '10.96.0.1:80'), ports(t, 'np:30000')], [undefined, undefined]);
  assert.equal([ports(t, '10.96.0.2:80'), ports(t, 'np:30001')], [[1], [1]]);
  assert.equal([isVip(t, '10.96.0.1'), isVip(t, '10.96.0.2')], [false, true]);
});

test('two services claim one address: the first has it, then the other', () => {
  const t = table();
  const w = new ServiceWriter(t);
  w.set(contents('a', ['ext:192.0.2.1:80', 'np:30000'], ['10.0.0.1:1']), 0);
  w.set(contents('b', ['lb:192.0.2.1:80', 'np:30000'], ['10.0.0.1:2']), 0);
  assert.equal([ports(t, '192.0.2.1:80'), ports(t, 'np:30000')], [[1], [1]]);
  w.remove('a', 0);
  assert.equal([ports(t, '192.0.2.1:80'), ports(t, 'np:30000')], [[2], [2]]);
  assert.is(viewFrontends(t)[0]?.kind, FrontendKind.LOAD_BALANCER);
  w.set(contents('a', ['ext:192.0.2.1:80'], ['10.0.0.1:1']), 0);
  w.remove('a', 0);
  assert.equal(ports(t, '192.0.2.1:80'), [2], 'who never had it takes nothing along');
  w.set(contents('b', ['ext:192.0.2.1:80'], ['10.0.0.1:2']), 0);
  assert.is(viewFrontends(t)[0]?.kind, FrontendKind.EXTERNAL_IP, 'an address may change its kind');
});

test('blocks and records are reused only after a grace period of a second', () => {
  const t = table();
  const w = new ServiceWriter(t);
  w.set(contents('a', ['10.96.0.1:80'], ['10.0.0.1:1']), 0);
  const first = w.blockOf('a');
  w.set(contents('a', ['10.96.0.1:80'], ['10.0.0.1:2']), 100);
  const second = w.blockOf('a');
  w.set(contents('a', ['10.96.0.1:80'], ['10.0.0.1:3']), 1099);
  assert.not.ok([first, second].includes(w.blockOf('a')), 'at 999 ms the first block still rests');
  w.set(contents('a', ['10.96.0.1:80'], ['10.0.0.1:4']), 1100);
  assert.is(w.blockOf('a'), first);
});

test('endpoint ids: stable while the endpoint exists, the same for the next writer, counters start at 0', () => {
  const t = table();
  const w = new ServiceWriter(t);
  w.set(contents('a', ['10.96.0.1:80'], ['10.0.0.1:1', '10.0.0.2:1']), 0);
  const id = w.endpointId('a', '10.0.0.2:1');
  t.connections[id] = 7;
  countEndpointPacket(t, 3, id);
  countEndpointPacket(t, 0, id);
  w.set(contents('a', ['10.96.0.1:80'], ['10.0.0.3:1', '10.0.0.2:1']), 0);
  assert.is(w.endpointId('a', '10.0.0.2:1'), id);
  const seen = viewService(t, TCP, 80, addressWords('10.96.0.1'))?.cluster[1];
  assert.equal([seen?.id, seen?.connections, seen?.packets], [id, 7, 2]);
  w.set(contents('a', ['10.96.0.1:80'], ['10.0.0.3:1']), 0);
  assert.is(w.endpointId('a', '10.0.0.2:1'), 0);
  w.set(contents('a', ['10.96.0.1:80'], ['10.0.0.3:1', '10.0.0.2:1']), 0);
  const back = viewService(t, TCP, 80, addressWords('10.96.0.1'))?.cluster[1];
  assert.equal([back?.connections, back?.packets], [0, 0]);

  const next = new ServiceWriter(table());
  next.set(contents('a', ['10.96.0.9:80'], ['10.0.0.2:1']), 0);
  assert.is(next.endpointId('a', '10.0.0.2:1'), id);
  next.set(contents('b', ['10.96.0.9:81'], ['10.0.0.2:1']), 0);
  assert.is.not(next.endpointId('b', '10.0.0.2:1'), id, 'another service counts for itself');
});

test('a full table throws, and the previous state stays', () => {
  const small = table({ poolWords: 64 });
  const w = new ServiceWriter(small);
  w.set(contents('a', ['10.96.0.1:80'], ['10.0.0.1:1']), 0);
  const many = Array.from({ length: 20 }, (_, i) => `10.0.0.${i}:9`);
  assert.throws(() => w.set(contents('a', ['10.96.0.1:80'], many), 0), /no room left for a block/);
  assert.equal(ports(small, '10.96.0.1:80'), [1]);
  assert.is(w.endpointId('a', '10.0.0.3:9'), 0);

  const few = table({ slots: 8 });
  const v = new ServiceWriter(few);
  const vips = ['10.96.0.1:80', '10.96.0.2:80', '10.96.0.3:80'];
  v.set(contents('a', vips, ['10.0.0.1:1']), 0);
  assert.throws(() => v.set(contents('b', ['10.96.0.4:80'], ['10.0.0.1:1']), 0), /no room left for another address/);
  assert.is(v.size, 1);
  v.set(contents('a', vips.slice(0, 1), ['10.0.0.1:1']), 0);
  v.set(contents('b', ['10.96.0.4:80'], ['10.0.0.1:1']), 1000);
  assert.equal(ports(few, '10.96.0.4:80'), [1]);

  const ids = table({ endpoints: 4 });
  const x = new ServiceWriter(ids);
  x.set(contents('a', ['10.96.0.1:80'], ['10.0.0.1:1', '10.0.0.2:1', '10.0.0.3:1']), 0);
  assert.throws(() => x.set(contents('b', ['10.96.0.2:80'], ['10.0.0.1:1']), 0), /no endpoint id left/);
  assert.not.ok(isVip(ids, '10.96.0.2'));
});

test('random churn against a map: every address leads where it should, nothing is lost or leaked', () => {
  const seed = 20240611;
  const random = seededRandom(seed);
  const t = table({ slots: 512, poolWords: 1 << 18, endpoints: 2048 });
  const w = new ServiceWriter(t);
  const model = new Map<string, { vip: string; port: number }>();
  let now = 0;
  for (let step = 0; step < 20_000; step++) {
    now += random.below(200);
    const name = `s${random.below(60)}`;
    if (random.below(3) === 0) {
      assert.is(w.remove(name, now), model.delete(name), `seed ${seed} step ${step}`);
      continue;
    }
    const vip = `10.96.${random.below(4)}.${name.slice(1)}:${80 + random.below(2)}`;
    const count = 1 + random.below(12);
    const port = 1 + random.below(60000);
    w.set(
      contents(
        name,
        [vip],
        Array.from({ length: count }, (_, i) => `10.1.0.${i}:${port}`),
      ),
      now,
    );
    model.set(name, { vip, port });
  }
  for (const { vip, port } of model.values()) assert.is(ports(t, vip)?.[0], port, `seed ${seed}`);
  assert.is(viewFrontends(t).length, model.size);
  assert.is(w.size, model.size);
  for (const name of model.keys()) w.remove(name, now);
  assert.ok(
    t.chains.every((chain) => chain === 0),
    'nothing hangs in the table',
  );
  assert.ok(t.blocks.every((block) => block === 0));
});

test("after churn of a hundred times the table's size, look-ups are as short as in a new table", () => {
  const t = table({ slots: 1024 });
  const w = new ServiceWriter(t);
  for (let i = 0; i < 50_000; i++) {
    const vip = `10.${96 + ((i >> 16) & 15)}.${(i >> 8) & 255}.${i & 255}:80`;
    w.set(contents('a', [vip], ['10.0.0.1:1']), i * 10);
  }
  const lengths = Array.from(t.chains, (first) => {
    let length = 0;
    for (let at = first; at !== 0; at = t.frontends[at * FRONTEND_WORDS + 6]!) length++;
    return length;
  });
  assert.is(
    lengths.reduce((sum, length) => sum + length),
    2,
  );
});

test('memory of another layout or kind is rejected', () => {
  const t = table();
  const buffer = t.words.buffer as ArrayBuffer;
  assert.ok(attachServices(buffer));
  assert.is(attachServices(buffer.slice(0, 4096)), undefined, 'cut short');
  t.words[1] = 1;
  assert.is(attachServices(buffer), undefined, 'another kind');
});

test('block allocator: larger free blocks are split when the pool is used up', () => {
  const memory = new Int32Array(16 + 64);
  const pool = new BlockPool(memory);
  const whole = pool.allocate(64);
  assert.is(whole, 16);
  assert.is(pool.allocate(16), 0);
  pool.release(whole);
  const pieces = [pool.allocate(16), pool.allocate(9), pool.allocate(30)];
  assert.equal(
    [...pieces].sort((a, b) => a - b),
    [16, 32, 48],
  );
  assert.is(memory[pieces[2]! + Block.SIZE], 32);
  assert.is(pool.allocate(1), 0);
});

test.run();
