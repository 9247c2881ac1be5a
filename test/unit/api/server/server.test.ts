/** Reaching the API: discovery, sockets, and an API that is down. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ApiClient } from '../../../../src/api/client/client.ts';
import { ApiUnreachableError } from '../../../../src/api/errors.ts';
import { startController } from '../../../../src/controllers/controller.ts';
import { request, withCluster } from '../../controllers/test-cluster.ts';

test(
  'discovery: the documents that kubectl reads first',
  withCluster(async ({ client, socketPath }) => {
    assert.equal((await client.raw<{ versions: string[] }>('/api')).versions, ['v1']);
    const groups = (await client.raw<{ groups: { name: string }[] }>('/apis')).groups.map((g) => g.name);
    for (const group of ['apps', 'batch', 'networking.k8s.io', 'discovery.k8s.io']) assert.ok(groups.includes(group));
    const core = await client.raw<{ resources: { name: string; kind: string }[] }>('/api/v1');
    assert.ok(core.resources.some((r) => r.name === 'pods/status'));
    const slices = await client.raw<{ resources: { name: string }[] }>('/apis/discovery.k8s.io/v1');
    assert.equal(
      slices.resources.map((r) => r.name),
      ['endpointslices'],
    );
    assert.is((await client.raw<{ minor: string }>('/version')).minor, '34');
    assert.is((await request(socketPath, 'GET', '/healthz')).body, 'ok');
  }),
);

test(
  'the API is served over TCP if configured; a second controller on the socket is refused',
  withCluster(async ({ directory, socketPath }) => {
    try {
      await startController({ stateDir: directory, socketPath });
      assert.unreachable();
    } catch (error) {
      assert.is((error as NodeJS.ErrnoException).code, 'EADDRINUSE');
    }
    const other = await startController({
      stateDir: `${directory}/other`,
      socketPath: `${directory}/other.sock`,
      insecure: { host: '127.0.0.1', port: 0 },
    });
    const client = new ApiClient(`http://127.0.0.1:${other.insecurePort}`);
    assert.is((await client.list('Namespace')).items.length, 4);
    client.close();
    await other.close();
  }),
);

test('an API that is down: ApiUnreachableError with the address', async () => {
  const client = new ApiClient('/nonexistent/api.sock');
  try {
    await client.list('Pod');
    assert.unreachable();
  } catch (error) {
    assert.instance(error, ApiUnreachableError);
    assert.match((error as Error).message, '/nonexistent/api.sock');
  }
});

test.run();
