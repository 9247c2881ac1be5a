/** S8 of docs/semantics.md, row by row: which endpoints a node uses. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type EndpointSets, endpointSets, readyEndpointsOn } from '../../../src/compile/endpoint-sets.ts';
import { slice } from '../../lib/services/objects.ts';

const PORT = { name: 'http', port: 80 };
const HERE = { nodeName: 'n1', zone: 'east' };

function sets(endpoints: string[], place: { nodeName: string; zone?: string } = HERE): EndpointSets {
  return endpointSets(PORT, [slice('a', endpoints)], place, (what) => assert.unreachable(what));
}

const ips = (contents: EndpointSets['cluster']): string => contents.map(({ key }) => key.split(':')[0]).join(' ');

interface Row {
  readonly name: string;
  readonly endpoints: string[];
  readonly cluster: string;
  readonly local: string;
  readonly hasEndpoints?: boolean;
}

const ROWS: Row[] = [
  {
    name: 'all ready endpoints',
    endpoints: ['10.0.0.1@n1', '10.0.0.2@n2'],
    cluster: '10.0.0.1 10.0.0.2',
    local: '10.0.0.1',
  },
  { name: 'none', endpoints: [], cluster: '', local: '', hasEndpoints: false },
  {
    name: 'endpoints that are not ready are omitted',
    endpoints: ['10.0.0.1@n1 not-ready', '10.0.0.2@n2'],
    cluster: '10.0.0.2',
    local: '',
  },
  {
    name: 'if none is ready, the set is empty',
    endpoints: ['10.0.0.1@n1 not-ready'],
    cluster: '',
    local: '',
    hasEndpoints: false,
  },
  {
    name: 'if none is ready, those that serve while terminating',
    endpoints: ['10.0.0.1@n1 terminating serving', '10.0.0.2@n2 terminating serving', '10.0.0.3@n2 terminating'],
    cluster: '10.0.0.1 10.0.0.2',
    local: '10.0.0.1',
  },
  {
    name: 'the fallback is decided separately for the local set',
    endpoints: ['10.0.0.1@n1 terminating serving', '10.0.0.2@n2'],
    cluster: '10.0.0.2',
    local: '10.0.0.1',
  },
  {
    name: 'terminating endpoints that no longer serve are omitted',
    endpoints: ['10.0.0.1@n1 terminating'],
    cluster: '',
    local: '',
    hasEndpoints: false,
  },
  {
    name: 'zone hints on every ready endpoint: those for the zone of the node',
    endpoints: ['10.0.0.1@n1 hint=east', '10.0.0.2@n2 hint=west', '10.0.0.3@n3 hint=east'],
    cluster: '10.0.0.1 10.0.0.3',
    local: '10.0.0.1',
  },
  {
    name: 'one ready endpoint without hints: hints are ignored',
    endpoints: ['10.0.0.1@n1 hint=east', '10.0.0.2@n2'],
    cluster: '10.0.0.1 10.0.0.2',
    local: '10.0.0.1',
  },
  {
    name: 'an unready one without hints does not matter',
    endpoints: ['10.0.0.1@n1 hint=east', '10.0.0.2@n2 hint=west', '10.0.0.3@n3 not-ready'],
    cluster: '10.0.0.1',
    local: '10.0.0.1',
  },
  {
    name: 'no hint for the zone of the node: all',
    endpoints: ['10.0.0.1@n1 hint=west', '10.0.0.2@n2 hint=west'],
    cluster: '10.0.0.1 10.0.0.2',
    local: '10.0.0.1',
  },
  {
    name: 'node hints take precedence over zone hints (PreferSameNode)',
    endpoints: ['10.0.0.1@n1 hint=east hint-node=n1', '10.0.0.2@n2 hint=east hint-node=n2'],
    cluster: '10.0.0.1',
    local: '10.0.0.1',
  },
  {
    name: 'no node hint for this node: by zone',
    endpoints: ['10.0.0.1@n3 hint=west hint-node=n3', '10.0.0.2@n2 hint=east hint-node=n2'],
    cluster: '10.0.0.2',
    local: '',
  },
  {
    name: 'the fallback ignores hints',
    endpoints: ['10.0.0.1@n1 terminating serving hint=west', '10.0.0.2@n2 terminating serving hint=east'],
    cluster: '10.0.0.1 10.0.0.2',
    local: '10.0.0.1',
  },
  {
    name: 'the local set ignores hints',
    endpoints: ['10.0.0.1@n1 hint=west', '10.0.0.2@n2 hint=east'],
    cluster: '10.0.0.2',
    local: '10.0.0.1',
  },
];

for (const { name, endpoints, cluster, local, hasEndpoints = true } of ROWS) {
  test(`S8: ${name}`, () => {
    const found = sets(endpoints);
    assert.equal([ips(found.cluster), ips(found.local), found.hasEndpoints], [cluster, local, hasEndpoints]);
  });
}

test('S8: a node without a zone uses all endpoints', () => {
  assert.is(
    ips(sets(['10.0.0.1@n1 hint=east', '10.0.0.2@n2 hint=west'], { nodeName: 'n1' }).cluster),
    '10.0.0.1 10.0.0.2',
  );
});

test('S16: every endpoint that serves counts as serving, whether chosen or not', () => {
  const found = sets([
    '10.0.0.1@n1',
    '10.0.0.2@n2 terminating serving',
    '10.0.0.3@n2 not-ready',
    '10.0.0.4@n2 terminating',
  ]);
  assert.equal(found.serving, ['10.0.0.1:8080', '10.0.0.2:8080']);
});

test('absent conditions mean ready; only the first address counts; endpoints are ordered by key', () => {
  const plain = { addresses: ['10.0.0.9', '10.0.0.8'] };
  const found = endpointSets(PORT, [slice('a', [plain, '10.0.0.1@n1'])], HERE, assert.unreachable);
  assert.is(ips(found.cluster), '10.0.0.1 10.0.0.9');
});

test('a named target port can have different numbers in different slices', () => {
  const one = slice('a', ['10.0.0.1'], { ports: [{ name: 'http', protocol: 'TCP', port: 8080 }] });
  const two = slice('a', ['10.0.0.2'], { name: 'a-2', ports: [{ name: 'http', protocol: 'TCP', port: 9090 }] });
  const found = endpointSets(PORT, [one, two], HERE, assert.unreachable);
  assert.equal(
    found.cluster.map(({ key }) => key),
    ['10.0.0.1:8080', '10.0.0.2:9090'],
  );
});

test('ports with another name or protocol, or without a number, are ignored', () => {
  const ports = [
    { name: 'http', protocol: 'UDP' as const, port: 1 },
    { name: 'metrics', protocol: 'TCP' as const, port: 2 },
    { name: 'http', protocol: 'TCP' as const },
  ];
  assert.is(endpointSets(PORT, [slice('a', ['10.0.0.1'], { ports })], HERE, assert.unreachable).cluster.length, 0);
});

test('an address in two slices counts once, in the better of its two states', () => {
  const a = slice('a', ['10.0.0.1@n1 not-ready']);
  const b = slice('a', ['10.0.0.1@n1'], { name: 'a-2' });
  for (const slices of [
    [a, b],
    [b, a],
  ]) {
    assert.is(ips(endpointSets(PORT, slices, HERE, assert.unreachable).cluster), '10.0.0.1');
  }
});

test('CVE-2021-25737, kubernetes #102106: loopback, link-local, multicast and unspecified addresses are rejected as endpoints, and reported', () => {
  const refused: string[] = [];
  const bad = [
    '127.0.0.1',
    '169.254.169.254',
    '224.0.0.1',
    '255.255.255.255',
    '0.1.2.3',
    '10.0.0.999',
    '::ffff:127.0.0.1',
  ];
  const found = endpointSets(PORT, [slice('a', [...bad, '10.0.0.1'])], HERE, (what) => refused.push(what));
  assert.is(ips(found.cluster), '10.0.0.1');
  assert.is(refused.length, bad.length);
  assert.ok(refused.some((text) => /^endpoint 127\.0\.0\.1: .*loopback/.test(text)));
});

test('S13: the health check counts endpoints that are ready on this node, not terminating ones', () => {
  const slices = [slice('a', ['10.0.0.1@n1', '10.0.0.2@n2', '10.0.0.3@n1 terminating serving'])];
  assert.equal([readyEndpointsOn(slices, 'n1'), readyEndpointsOn(slices, 'n3')], [1, 0]);
  assert.is(readyEndpointsOn([slice('a', ['10.0.0.3@n1 terminating serving'])], 'n1'), 0);
});

test.run();
