/** Responses for names that do not exist, made from a template: the same bytes as those written one by one. */
import { encode, RECURSION_DESIRED } from 'dns-packet';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Service } from '../../../src/api/types/objects.ts';
import { ClusterZone } from '../../../src/dns/cluster-zone.ts';
import { Denials } from '../../../src/dns/denials.ts';
import { readQuery, udpRoom, writeResponse } from '../../../src/dns/message.ts';
import { Resolver } from '../../../src/dns/resolver.ts';
import { pick, seededRandom } from '../../lib/seeded-random.ts';

const zone = new ClusterZone('cluster.local', '10.96.0.10');
zone.setService({
  metadata: { name: 'web', namespace: 'default' },
  spec: { clusterIP: '10.96.3.4', ports: [{ port: 80 }] },
} as unknown as Service);
const isOwnAddress = (address: string) => address.startsWith('10.');
const resolver = new Resolver({ zone, isOwnAddress });

interface Plain {
  name: string;
  type?: string;
  id?: number;
  edns?: number;
  flags?: number;
  options?: object[];
}

function query({ name, type = 'A', id = 4711, edns = 0, flags = RECURSION_DESIRED, options = [] }: Plain): Buffer {
  const opt = { type: 'OPT', name: '.', udpPayloadSize: edns, extendedRcode: 0, ednsVersion: 0, flags: 0, options };
  return encode({
    ...{ type: 'query', id, flags, questions: [{ name, type } as never] },
    ...(edns > 0 && { additionals: [opt as never] }),
  });
}

/** The response that is written for this query alone. */
function written(message: Buffer, from = resolver): Buffer {
  const asked = readQuery(message);
  assert.ok(asked !== undefined && !('rcode' in asked));
  const answer = from.resolve(asked);
  assert.not.ok(answer instanceof Promise);
  return writeResponse(asked, answer as never, udpRoom(asked));
}

test('a name that does not exist is denied with the bytes of a response of its own', () => {
  const random = seededRandom(1013);
  const denials = new Denials(resolver);
  for (let i = 0; i < 2000; i++) {
    const label = () => pick(random, ['a', 'Web2', 'x-y', '_http', '_tcp', 'n'.repeat(63), String(i)]);
    const name = [
      label(),
      label(),
      pick(random, ['default.svc.cluster.local', 'SVC.Cluster.Local', 'cluster.local', 'example.com']),
    ].join('.');
    const flags = pick(random, [0, RECURSION_DESIRED]);
    const message = query({
      name,
      type: pick(random, ['A', 'AAAA', 'SRV', 'HTTPS', 'TXT']),
      id: i,
      edns: pick(random, [0, 512, 1232, 4096]),
      flags,
    });
    const found = denials.find(message);
    assert.ok(found, name);
    assert.equal(found, written(message), name);
  }
});

test('names that exist, names of addresses, and what is not a plain question are left to the ordinary way', () => {
  const denials = new Denials(resolver);
  const unknown = 'nobody.default.svc.cluster.local';
  for (const name of [
    'web.default.svc.cluster.local',
    'cluster.local',
    'default.svc.cluster.local',
    '5.3.96.10.in-addr.arpa',
  ]) {
    assert.is(denials.find(query({ name })), undefined, name);
  }
  for (const type of ['AXFR', 'IXFR', 'ANY']) assert.is(denials.find(query({ name: unknown, type })), undefined, type);
  assert.is(denials.find(query({ name: 'n\u00f6.default.svc.cluster.local' })), undefined, 'not ASCII');
  const cookie = { code: 10, data: Buffer.alloc(8) };
  assert.is(denials.find(query({ name: unknown, edns: 1232, options: [cookie] })), undefined, 'an EDNS option');
  const good = query({ name: unknown });
  for (const [what, at, value] of [
    ['a response', 2, 0x80],
    ['another opcode', 2, 0x10],
    ['truncated', 2, 0x02],
    ['two questions', 5, 2],
    ['class CH', good.length - 1, 3],
    ['a label that is too long', 12, 64],
  ] as const) {
    const changed = Buffer.from(good);
    changed[at] = value;
    assert.is(denials.find(changed), undefined, what);
  }
  for (let length = 0; length < good.length; length++) {
    assert.is(denials.find(good.subarray(0, length)), undefined, `cut after ${length} bytes`);
  }
  const version = query({ name: unknown, edns: 1232 });
  version[version.length - 5] = 1;
  assert.is(denials.find(version), undefined, 'EDNS version 1');
});

test('with an upstream server, only names of the cluster are denied without asking it', () => {
  const upstream = { resolve: () => Promise.reject(new Error('asked')) };
  const denials = new Denials(new Resolver({ zone, upstream, isOwnAddress }));
  assert.is(denials.find(query({ name: 'example.com' })), undefined);
  assert.ok(denials.find(query({ name: 'example.com.default.svc.cluster.local' })));
});

test('a name is denied until its Service exists, and again when it is gone', () => {
  const own = new ClusterZone('cluster.local', '10.96.0.10');
  const denials = new Denials(new Resolver({ zone: own, isOwnAddress }));
  const message = query({ name: 'late.default.svc.cluster.local' });
  const late = {
    metadata: { name: 'late', namespace: 'default' },
    spec: { clusterIP: '10.96.3.5' },
  } as unknown as Service;
  assert.ok(denials.find(message));
  own.setService(late);
  assert.is(denials.find(message), undefined);
  own.removeService(late);
  assert.ok(denials.find(message));
});

test.run();
