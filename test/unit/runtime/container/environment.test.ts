import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Container, Pod, ResourceFieldRef } from '../../../../src/api/types/objects.ts';
import { commandOf, environmentOf, expand } from '../../../../src/runtime/container/environment.ts';
import { resourceText } from '../../../../src/runtime/container/resource-field.ts';
import { ConfigSource } from '../../../../src/runtime/files/config-source.ts';

const env = new Map([
  ['A', 'one'],
  ['B', '$(A)'],
]);
const facts = { podIP: '10.244.1.2', hostIP: '172.18.0.11', hostname: 'p', home: '/root' };
const pod = { metadata: { name: 'p', namespace: 'ns', uid: 'u', labels: { app: 'x' } }, spec: { containers: [] } };
const source = new ConfigSource({ getConfigMap: () => undefined, getSecret: () => undefined });
const container = (rest: Partial<Container>): Container => ({ name: 'c', image: 'i', ...rest });

test('expand: known names are replaced once, unknown names and single dollars are kept, $$ is an escape', () => {
  assert.is(expand('$(A)-$(B)-$(C)', env), 'one-$(A)-$(C)');
  assert.is(expand('$$(A) $A $( $(A', env), '$(A) $A $( $(A');
  assert.is(expand('$$$(A)', env), '$one');
});

test('commandOf: command drops the image’s arguments, args alone keeps its entrypoint', () => {
  const image = { names: ['i'], entrypoint: ['run'], cmd: ['x'] };
  const of = (rest: Partial<Container>) => commandOf(container(rest), image, env);
  assert.equal(of({}), ['run', 'x']);
  assert.equal(of({ args: ['y'] }), ['run', 'y']);
  assert.equal(of({ command: ['other'] }), ['other']);
  assert.equal(of({ command: ['other'], args: ['$(A)'] }), ['other', 'one']);
  assert.throws(() => commandOf(container({}), { names: ['i'] }, env), /needs a command/);
});

test('environmentOf: later variables see earlier ones, fields are read from the pod', async () => {
  const variables = [
    { name: 'A', value: '1' },
    { name: 'B', value: '$(A)$(Z)' },
    { name: 'L', valueFrom: { fieldRef: { fieldPath: "metadata.labels['app']" } } },
    { name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
    { name: 'M', valueFrom: { configMapKeyRef: { name: 'm', key: 'k', optional: true } } },
  ];
  const found = await environmentOf(pod as unknown as Pod, container({ env: variables }), { names: [] }, facts, source);
  assert.equal([found.get('B'), found.get('L'), found.get('IP'), found.has('M')], ['1$(Z)', 'x', '10.244.1.2', false]);
  assert.is(found.get('HOSTNAME'), 'p');
});

test('environmentOf: referenced objects must exist', async () => {
  const missing = container({ envFrom: [{ configMapRef: { name: 'nobody' } }] });
  let message = '';
  await environmentOf(pod as unknown as Pod, missing, { names: [] }, facts, source).catch((error: Error) => {
    message = error.message;
  });
  assert.is(message, 'configmap "nobody" not found');
});

test('resourceFieldRef: whole units of the divisor, rounded up; a limit that is not set is what the node has', () => {
  const limited = container({ resources: { limits: { memory: '100Mi', cpu: '1500m' }, requests: { cpu: '250m' } } });
  const spec = { containers: [limited, { ...container({}), name: 'd' }] };
  const node = { cpus: 4, memoryBytes: 2 ** 30 };
  const text = (ref: ResourceFieldRef, own?: Container) => resourceText(spec, ref, node, own);
  assert.is(text({ resource: 'limits.memory' }, limited), String(100 * 2 ** 20));
  assert.is(text({ resource: 'limits.memory', divisor: '1Mi' }, limited), '100');
  assert.is(text({ resource: 'limits.cpu' }, limited), '2');
  assert.is(text({ resource: 'limits.cpu', divisor: '1m' }, limited), '1500');
  assert.is(text({ resource: 'requests.cpu', divisor: '1m', containerName: 'c' }), '250');
  assert.is(text({ resource: 'limits.cpu', containerName: 'd' }), '4');
  assert.is(text({ resource: 'limits.memory', containerName: 'd', divisor: '1Gi' }), '1');
  assert.is(text({ resource: 'requests.memory', containerName: 'd' }), '0');
  assert.throws(() => text({ resource: 'limits.cpu', containerName: 'x' }), 'container x not found');
});

test.run();
