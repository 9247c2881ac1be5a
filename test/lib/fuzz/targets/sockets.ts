/**
 * The agent's sockets, the control socket and that of the CNI plugin: whatever is written to them, and wherever the
 * connection ends, they answer or close, and serve the next client.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CniServer } from '../../../../src/agent/cni/server.ts';
import { ControlSocket } from '../../../../src/agent/control-socket.ts';
import { agentSocketPath } from '../../../../src/api/agent-socket.ts';
import type { PodGroups } from '../../../../src/runtime/pod/groups.ts';
import { pick, type Random } from '../../seeded-random.ts';
import type { FuzzTarget } from '../target.ts';

const ANSWER_MS = 5000;
const LINES = [
  'GET /stats/summary HTTP/1.1\r\n',
  'POST /restart?pod=x&namespace=y HTTP/1.1\r\n',
  'POST /restart?pod=%ff HTTP/1.1\r\n',
  'GET /exec?pod=x&command=ls HTTP/1.1\r\n',
  'GET /portforward HTTP/1.1\r\n',
  'CONNECT x:80 HTTP/1.1\r\n',
  'GET //// HTTP/1.1\r\n',
  'GET /\u0000 HTTP/1.1\r\n',
  'BREW / HTTP/9.9\r\n',
];
const HEADERS = [
  'host: a\r\n',
  'content-length: 5\r\n',
  'content-length: 99999999999\r\n',
  'transfer-encoding: chunked\r\n',
  'connection: upgrade\r\nupgrade: SPDY/3.1\r\n',
  'connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\nsec-websocket-version: 13\r\n',
  'x-stream-protocol-version: v4.channel.k8s.io\r\n',
  ': \r\n',
  '\r\n',
];
const BODIES = ['5\r\nhello\r\n0\r\n\r\n', '{}', '\u0080\u0003\u0000\u0001', 'x'.repeat(3000), ''];
const CALLS = [
  '{',
  'null',
  '[]',
  '{"environment":{},"config":{}}',
  '{"environment":{"CNI_COMMAND":"ADD"},"config":{"cniVersion":1}}',
];

/** Send the pieces and wait for the other side to answer or close. */
function exchange(path: string, pieces: readonly Buffer[], closes: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path, allowHalfOpen: true });
    const timer = setTimeout(() => {
      socket.destroy();
      reject(
        new Error(`no answer within ${ANSWER_MS} ms to ${JSON.stringify(Buffer.concat(pieces).toString('latin1'))}`),
      );
    }, ANSWER_MS);
    const done = (): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve();
    };
    socket.on('error', done).on('data', done).on('close', done);
    for (const piece of pieces) socket.write(piece);
    if (closes) socket.end();
    else setImmediate(done);
  });
}

function pieces(random: Random, toCni: boolean): Buffer[] {
  const texts = toCni
    ? [pick(random, CALLS)]
    : [
        pick(random, LINES),
        ...Array.from({ length: random.below(5) }, () => pick(random, HEADERS)),
        '\r\n',
        pick(random, BODIES),
      ];
  const bytes = Buffer.from(texts.join(''), 'latin1');
  for (let n = random.below(3); n > 0; n--) bytes[random.below(bytes.length)] = random.below(256);
  const cut = random.below(bytes.length + 1);
  return [bytes.subarray(0, cut), bytes.subarray(cut)].filter(({ length }) => length > 0);
}

export const target: FuzzTarget = {
  name: 'sockets',
  unit: 'connections',
  async run(random: Random): Promise<number> {
    const directory = mkdtempSync(join(tmpdir(), 'dataplane-fuzz-'));
    const cniPath = join(directory, 'cni.sock');
    const refuse = async (): Promise<never> => {
      throw new Error('there is no such pod');
    };
    const control = new ControlSocket({
      nodeName: 'n1',
      stateDir: directory,
      groups: {} as PodGroups,
      restart: refuse,
    });
    const cni = new CniServer(cniPath, { call: async () => undefined }, () => {});
    const count = 1 + random.below(32);
    try {
      await control.start();
      await cni.start();
      const controlPath = agentSocketPath(directory, 'n1');
      for (let index = 0; index < count; index++) {
        const toCni = random.below(3) === 0;
        await exchange(toCni ? cniPath : controlPath, pieces(random, toCni), random.below(4) !== 0);
      }
      const request = 'POST /restart?pod=x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n';
      await exchange(controlPath, [Buffer.from(request)], true);
      await exchange(cniPath, [Buffer.from('{}')], true);
    } finally {
      await cni.close();
      await control.close();
      rmSync(directory, { recursive: true, force: true });
    }
    return count;
  },
};
