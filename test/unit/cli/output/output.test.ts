import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { invalid } from '../../../../src/api/errors.ts';
import { resourceOfKind } from '../../../../src/api/resources.ts';
import { printAge } from '../../../../src/api/tables/age.ts';
import type { KubeObject, Pod, Service } from '../../../../src/api/types/objects.ts';
import { CliError, describeError, failed, SilentExit } from '../../../../src/cli/errors.ts';
import { tableRows } from '../../../../src/cli/output/columns.ts';
import { formatOf, toYaml } from '../../../../src/cli/output/output.ts';
import { block, printBlock } from '../../../../src/cli/output/text.ts';
import { ClusterError, ManifestError } from '../../../../src/cluster/errors.ts';

const test = suite('output');
const PLAIN = { wide: false, namespaces: false, showLabels: false, headers: true };

const pod = (status: Partial<Pod['status']> & object, metadata: object = {}): Pod =>
  ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'mc3', namespace: 'default', creationTimestamp: '2026-01-01T00:00:00Z', ...metadata },
    spec: { nodeName: 'n1', containers: [{ name: 'webapp' }, { name: 'nginx' }] },
    status,
  }) as unknown as Pod;

test('ages are printed as by kubectl', () => {
  const of = (s: number) => printAge(s * 1000);
  assert.equal([0, 119, 120, 599, 600, 10_799, 10_800].map(of), ['0s', '119s', '2m', '9m59s', '10m', '179m', '3h']);
  assert.equal([3600 * 47, 3600 * 49, 86_400 * 8].map(of), ['47h', '2d1h', '8d']);
});

test('a running pod is shown as by kubectl', () => {
  const running = { name: 'c', image: '', imageID: '', ready: true, restartCount: 1, state: { running: {} } };
  const rows = tableRows(
    'Pod',
    [pod({ phase: 'Running', podIP: '10.244.1.2', containerStatuses: [running, running] })],
    { ...PLAIN, wide: true },
    Date.parse('2026-01-01T00:01:00Z'),
  );
  assert.equal(rows[0], [
    'NAME',
    'READY',
    'STATUS',
    'RESTARTS',
    'AGE',
    'IP',
    'NODE',
    'NOMINATED NODE',
    'READINESS GATES',
  ]);
  assert.equal(rows[1], ['mc3', '2/2', 'Running', '2', '60s', '10.244.1.2', 'n1', '<none>', '<none>']);
});

test("a service's ports and addresses are shown as by kubectl", () => {
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'mc3', creationTimestamp: '2026-01-01T00:00:00Z' },
    spec: { type: 'NodePort', clusterIP: '10.96.0.7', ports: [{ port: 80, nodePort: 31418, protocol: 'TCP' }] },
  } as unknown as Service;
  const [, row] = tableRows('Service', [service as KubeObject], PLAIN, Date.parse('2026-01-01T00:00:05Z'));
  assert.equal(row, ['mc3', 'NodePort', '10.96.0.7', '<none>', '80:31418/TCP', '5s']);
});

test('-A adds the namespace as the first column, --show-labels the labels as the last', () => {
  const labelled = pod({ phase: 'Pending' }, { labels: { app: 'mc3' } });
  const rows = tableRows('Pod', [labelled], { ...PLAIN, namespaces: true, showLabels: true }, 0);
  assert.is(rows[0]![0], 'NAMESPACE');
  assert.equal([rows[1]![0], rows[1]!.at(-1)], ['default', 'app=mc3']);
});

test('an unknown -o is refused', () => {
  assert.is(formatOf('json'), 'json');
  assert.throws(() => formatOf('xml'), '-o xml: expected json, yaml, wide or name');
});

test('YAML has the layout of kubectl: sorted keys, lists without indentation', async () => {
  assert.is(await toYaml({ b: [1], a: 'on' }), 'a: "on"\nb:\n- 1\n');
});

test('describe: values are aligned, blocks indented', () => {
  const text = printBlock(block(['Name', 'a'], ['Labels', ['x=1', 'y=2']], ['Inside', block(['Deep', 'b'])]));
  assert.is(text, 'Name:    a\nLabels:  x=1\n         y=2\nInside:\n  Deep:  b\n');
});

test('an error is one line, with an exit status', () => {
  assert.equal(describeError(failed('it broke', 'mend it')), { text: 'it broke: mend it', status: 1 });
  assert.equal(describeError(new CliError(2, 'wrong\nwords')), { text: 'wrong words', status: 2 });
  assert.equal(describeError(new SilentExit(7)), { text: undefined, status: 7 });
});

test('several mistakes are one line each, whether in one object or in many', () => {
  const problems = Array.from({ length: 12 }, (_, i) => `f.yaml: document ${i + 1}: wrong`);
  const lines = describeError(new ManifestError(problems)).text!.split('\n');
  assert.is(lines.length, 11);
  assert.is(lines[10], 'and 2 more mistakes');
  const refused = invalid(resourceOfKind('Service')!, 's', [
    { path: 'spec.a', message: 'one' },
    { path: 'spec.b', message: 'two' },
  ]);
  const each = (text: string) => `Error from server (Invalid): Service "s" is invalid: ${text}`;
  assert.is(describeError(refused).text, `${each('spec.a: one')}\n${each('spec.b: two')}`);
});

test('a ClusterError gets the advice of its code, unless it has its own', () => {
  assert.is(describeError(new ClusterError('ALREADY_UP', 'it is up')).text, 'it is up: `dataplane down` removes it');
  assert.is(describeError(new ClusterError('MACHINE', 'no ip', 'install it')).text, 'no ip: install it');
});

test('if the API cannot be reached, the advice depends on the cause', () => {
  const unreachable = (code: string) => Object.assign(new Error('connect'), { name: 'ApiUnreachableError', code });
  assert.match(describeError(unreachable('ENOENT')).text!, 'bring one up with `dataplane up`');
  assert.match(describeError(unreachable('ECONNREFUSED')).text!, 'nodes keep forwarding: try again in a second');
  assert.match(describeError(unreachable('EACCES')).text!, 'run it with sudo');
});

test.run();
