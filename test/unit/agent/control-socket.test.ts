/** The control socket with malformed requests: each gets an answer or is closed, and the next one is served. */
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ControlSocket } from '../../../src/agent/control-socket.ts';
import { agentSocketPath } from '../../../src/api/agent-socket.ts';
import type { PodGroups } from '../../../src/runtime/pod/groups.ts';

const test = suite('control socket');
const directory = mkdtempSync(join(tmpdir(), 'dataplane-test-'));
const restarted: string[] = [];
const socket = new ControlSocket({
  nodeName: 'n1',
  stateDir: directory,
  groups: {} as PodGroups,
  restart: async (_namespace, pod) => void restarted.push(pod),
});

test.before(() => socket.start());
test.after(async () => {
  await socket.close();
  rmSync(directory, { recursive: true });
});

/** Everything that is answered until the connection ends. */
function exchange(text: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const client = connect(agentSocketPath(directory, 'n1'));
    client.setEncoding('latin1').on('data', (data) => {
      answer += data;
    });
    client.on('error', () => {});
    client.on('close', () => resolve(answer));
    client.write(text);
  });
}

const ask = (line: string): Promise<string> => exchange(`${line} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`);

test('a path that is no URL, or has a broken escape, is a bad request and does not end the agent', async () => {
  for (const path of ['////', '/containerLogs/%ff/x/y', '//[', '/%'])
    assert.match(await ask(`GET ${path}`), /^HTTP\/1.1 40/);
  assert.match(await ask('POST /restart?pod=web'), /^HTTP\/1.1 200/);
  assert.equal(restarted, ['web']);
});

test('CONNECT to a port that does not exist is a bad request, also if the client is gone by then', async () => {
  for (const target of ['10.0.0.1:99999', '10.0.0.1:65536', 'x', ':']) {
    assert.match(await ask(`CONNECT ${target}`), /^HTTP\/1.1 400/, target);
  }
  const gone = connect(agentSocketPath(directory, 'n1'));
  gone.on('error', () => {});
  gone.write('CONNECT nowhere HTTP/1.1\r\nhost: a\r\n\r\n', () => gone.destroy());
  await new Promise((resolve) => gone.once('close', resolve));
  assert.match(await ask('POST /restart?pod=db'), /^HTTP\/1.1 200/);
});

test.run();
