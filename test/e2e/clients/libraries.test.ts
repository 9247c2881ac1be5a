/**
 * Client libraries in other languages, unmodified. CLIENT_GO, CONTROLLER_RUNTIME: the programs of client-go/ and
 * controller-runtime/, built; PYTHON_CLIENT: a Python that has the package kubernetes; CLIENT_NODE: a directory in which
 * @kubernetes/client-node is installed.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { startController } from '../../../src/controllers/controller.ts';
import { clientTest } from '../../lib/client-program.ts';
import { output, ROOT, run } from '../../lib/cluster.ts';

/** The output of a client program that runs against an API server of its own. */
async function printed(command: readonly string[], ...more: string[]): Promise<string[]> {
  const stateDir = mkdtempSync(join(tmpdir(), 'dataplane-client-'));
  const insecure = { host: '127.0.0.1', port: 0 };
  const controller = await startController({ stateDir, socketPath: join(stateDir, 'api.sock'), insecure });
  try {
    const text = await output(run([...command, `http://127.0.0.1:${controller.insecurePort}`, ...more]));
    return text.trim().split('\n');
  } finally {
    await controller.close();
    rmSync(stateDir, { recursive: true });
  }
}

// By default client-go prefers protobuf and accepts JSON; with a type as argument it accepts nothing else.
for (const types of [[], ['application/vnd.kubernetes.protobuf'], ['application/json']]) {
  clientTest(
    test,
    'CLIENT_GO',
    `client-go, ${types[0] ?? 'its default types'}: writes, informer, scale, apply, events, leader election`,
    async (program) => {
      assert.equal(await printed([program], ...types), [
        'already exists: true',
        'informer synced: 1',
        'replicas: 0',
        'applied: map[a:2 b:3]',
        'event: the same 3',
        'leading: true',
        'renewed: true',
        'informer saw the deletion',
        'pods: 0',
      ]);
    },
  );
}

clientTest(
  test,
  'CONTROLLER_RUNTIME',
  'controller-runtime: leader election, cached client, apply, owned objects, status, finalizers, events, an index',
  async (program) => {
    assert.equal(await printed([program]), [
      'definition applied',
      'leading: true',
      'site: controller-runtime Update, controller-runtime Update/status finalizers: [sites.example.com/cleanup]',
      'deployment: site-operator Apply, kube-controller-manager Update/status',
      'by index: 1 shop',
      'events: 2',
      'conflict: true',
      'taken back: site-operator Apply, kube-controller-manager Update/status',
      'a label is no change of generation: true',
      'stale update refused: true',
      'finalized: true',
      'released: true',
    ]);
  },
);

clientTest(test, 'CLIENT_NODE', '@kubernetes/client-node: an informer, apply, a watch', async (directory) => {
  const script = join(ROOT, 'test/e2e/clients/client-node.mjs');
  assert.equal(await printed([process.execPath, script, directory]), [
    'informer: add first, add second, update first, delete second',
    'cache: first 2',
    'applied: {"a":"2","b":"3"}',
    'watch: DELETED',
    'not found: 404',
  ]);
});

clientTest(
  test,
  'PYTHON_CLIENT',
  'the Python client: a watch, refusals, scale, lists in parts, apply',
  async (program) => {
    assert.equal(await printed([program, join(ROOT, 'test/e2e/clients/python-client.py')]), [
      'watch: ADDED MODIFIED DELETED',
      'not found: 404',
      'scale: 1',
      'continue: True',
      'applied: 2',
    ]);
  },
);

test.run();
