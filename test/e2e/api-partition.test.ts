/** An API server that disappears without closing its connections: clients notice within seconds. */
import { spawn, spawnSync } from 'node:child_process';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ApiClient } from '../../src/api/client/client.ts';
import { eventually, output, run } from '../lib/cluster.ts';

const SERVER = 'dp-server';
const ADDRESS = '192.168.97.2';
/** Accepts every watch and sends nothing, as an API does while nothing changes. */
const QUIET = `require('http').createServer((q, r) => r.write('\\n')).listen(8080)`;
const NOTICED_MS = 15_000;

const test = suite('API partition');

test('a watch ends with an error within seconds after its server and the network have disappeared', async () => {
  await output(run(['ip', 'netns', 'add', SERVER]));
  const inside = (...args: string[]) => output(run(['ip', '-n', SERVER, ...args]));
  await output(run(['ip', 'link', 'add', 'to-server', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', SERVER]));
  await output(run(['ip', 'address', 'add', '192.168.97.1/24', 'dev', 'to-server']));
  await output(run(['ip', 'link', 'set', 'to-server', 'up']));
  await inside('address', 'add', `${ADDRESS}/24`, 'dev', 'eth0');
  await inside('link', 'set', 'eth0', 'up');
  const server = spawn('ip', ['netns', 'exec', SERVER, process.execPath, '-e', QUIET], { stdio: 'ignore' });
  const client = new ApiClient(`http://${ADDRESS}:8080`, { timeoutMs: 2000 });
  try {
    let open = false;
    const failures: Error[] = [];
    const watch = async (): Promise<void> => {
      const onOpen = (): void => {
        open = true;
      };
      await client
        .watch('Pod', { onOpen }, () => {})
        .catch((error: Error) => {
          failures.push(error);
        });
    };
    await eventually(async () => {
      if (!open) void watch();
      return open || undefined;
    });
    failures.length = 0;
    // From here on the server's side sends no reset.
    await inside('link', 'set', 'eth0', 'down');
    server.kill('SIGKILL');
    const cut = Date.now();
    await eventually(async () => failures[0], NOTICED_MS + 5000);
    assert.ok(Date.now() - cut < NOTICED_MS, `noticed after ${Date.now() - cut} ms`);
    assert.is(failures[0]?.name, 'ApiUnreachableError');
  } finally {
    client.close();
    server.kill('SIGKILL');
    spawnSync('ip', ['netns', 'delete', SERVER]);
  }
});

test.run();
