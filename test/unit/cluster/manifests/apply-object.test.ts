import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { strategicMergePatch } from '../../../../src/api/patches/strategic.ts';
import { WellKnown } from '../../../../src/api/types/objects.ts';
import { threeWayPatch, withLastApplied } from '../../../../src/cluster/manifests/apply-object.ts';

const test = suite('three-way apply');

const pod = (spec: object, metadata: object = {}) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'a', ...metadata },
  spec,
});

test('fields of the last apply that are missing now are removed; fields of others stay', () => {
  const last = pod({ containers: [] }, { labels: { app: 'a', old: 'x' } });
  const next = pod({ containers: [] }, { labels: { app: 'a', fresh: 'y' } });
  const present = pod({ containers: [] }, { labels: { app: 'a', old: 'x', theirs: 'z' } });
  const result = strategicMergePatch(
    present,
    threeWayPatch(last, next, 'Pod'),
    'k8s.io.api.core.v1.Pod',
  ) as typeof present;
  assert.equal(result.metadata, { name: 'a', labels: { app: 'a', fresh: 'y', theirs: 'z' } });
});

test('list elements are merged and removed by their merge key', () => {
  const service = (...ports: object[]) => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 's' },
    spec: { ports },
  });
  const last = service({ port: 80 }, { port: 81 });
  const next = service({ port: 80, targetPort: 8080 });
  const present = service({ port: 80, targetPort: 80, nodePort: 31000 }, { port: 81, nodePort: 31001 });
  const result = strategicMergePatch(
    present,
    threeWayPatch(last, next, 'Service'),
    'k8s.io.api.core.v1.Service',
  ) as typeof present;
  assert.equal(result.spec.ports, [{ port: 80, targetPort: 8080, nodePort: 31000 }]);
});

test('a list with two elements of the same key (a port over TCP and UDP) is replaced as a whole', () => {
  const ports = [
    { name: 'dns', port: 53, protocol: 'UDP' },
    { name: 'dns-tcp', port: 53, protocol: 'TCP' },
  ];
  const service = { apiVersion: 'v1', kind: 'Service', metadata: { name: 's' }, spec: { ports } };
  const result = strategicMergePatch(
    service,
    threeWayPatch(service, service, 'Service'),
    'k8s.io.api.core.v1.Service',
  ) as typeof service;
  assert.equal(result.spec.ports, ports);
});

test('Endpoints are replaced list by list', () => {
  const endpoints = (...ips: string[]) => ({
    apiVersion: 'v1',
    kind: 'Endpoints',
    metadata: { name: 'e' },
    subsets: [{ addresses: ips.map((ip) => ({ ip })) }],
  });
  const patch = threeWayPatch(endpoints('10.0.0.1'), endpoints('10.0.0.2'), 'Endpoints');
  assert.equal(
    (strategicMergePatch(endpoints('10.0.0.1'), patch, 'k8s.io.api.core.v1.Endpoints') as { subsets: unknown }).subsets,
    endpoints('10.0.0.2').subsets,
  );
});

test('the annotation contains the manifest, without the annotation itself', () => {
  const once = withLastApplied(pod({ containers: [] }));
  const twice = withLastApplied(once);
  assert.equal(twice, once);
  const text = once.metadata.annotations![WellKnown.LAST_APPLIED]!;
  assert.equal(JSON.parse(text), pod({ containers: [] }, { annotations: {} }));
});

test.run();
