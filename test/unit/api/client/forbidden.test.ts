import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ApiClient } from '../../../../src/api/client/client.ts';
import { type ApiError, forbiddenAction } from '../../../../src/api/errors.ts';

test('a write that is forbidden is reported once, and only the second time if the server may not have read its roles', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'dataplane-client-'));
  const socket = join(directory, 'api.sock');
  let reason = '';
  const server = createServer((request, response) => {
    const [resource, name] = (request.url ?? '').split('?')[0]!.split('/').slice(-2) as [string, string];
    const action = { verb: 'patch', apiGroup: '', resource, name };
    response.writeHead(403, { 'content-type': 'application/json' });
    response.end(JSON.stringify(forbiddenAction('somebody', action, reason).status));
  }).listen(socket);
  await new Promise((resolve) => server.once('listening', resolve));
  const reported: string[] = [];
  const client = new ApiClient(socket, { onForbidden: ({ message }: ApiError) => reported.push(message) });
  const attempt = (kind: 'Node' | 'Pod', name: string): Promise<void> =>
    client.patch(kind, name, {}).then(
      () => assert.unreachable(),
      ({ code }: ApiError) => assert.is(code, 403),
    );
  await attempt('Node', 'n1');
  await attempt('Node', 'n2');
  assert.is(reported.length, 1);
  assert.match(reported[0] as string, /cannot patch resource "nodes"/);
  reason = 'RBAC: clusterrole.rbac.authorization.k8s.io "view" not found';
  await attempt('Pod', 'p1');
  assert.is(reported.length, 1);
  await attempt('Pod', 'p2');
  await attempt('Pod', 'p3');
  assert.is(reported.length, 2);
  assert.match(reported[1] as string, /cannot patch resource "pods"/);
  client.close();
  server.close();
  rmSync(directory, { recursive: true });
});

test.run();
