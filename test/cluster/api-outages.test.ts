/**
 * Nodes while their API server is away: killed again and again, stopped for minutes, given other certificates; under load.
 *
 * The agents use one API server of Kubernetes and the administrator another one of the same cluster, so that there are changes
 * while the agents' server is away. With API_OUTAGES_FULL=1 (`npm run test:api-outages`) 20 kills, and five minutes.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ensureCertificates } from '../../src/controllers/access/certificates.ts';
import { replaceFile } from '../../src/linux/replace-file.ts';
import { eventually } from '../lib/cluster.ts';
import { ADDRESS, ControlPlane, SERVER_NAMES, type ServerFiles, whyNoControlPlane } from '../lib/control-plane.ts';
import { testUnless } from '../lib/test-unless.ts';

const IS_FULL = process.env.API_OUTAGES_FULL === '1';
const KILLS = IS_FULL ? 20 : 2;
const STOP_MS = IS_FULL ? 300_000 : 15_000;
/** Within which changes are in force when the server answers again. */
const IN_FORCE_MS = 2000;
const OUTSIDE = 'dp-outside';
const FRONT = 'agents-apiserver';
const FRONT_PORT = 6444;
const PORTS = [31081, 31082] as const;

const why = whyNoControlPlane();
const test = suite('API server away');
const scenario = testUnless(why, test);

let plane: ControlPlane;
let pki: Record<'server' | 'agent', ServerFiles>;
let load: Load;
/** Which of PORTS the Service has. */
let turn = 0;

/** wrk with connections of one request each and of many, until it is stopped. */
class Load {
  private readonly children: ChildProcess[];
  private readonly reports: Promise<string>[];

  constructor(url: string, directory: string) {
    const pace = join(directory, 'pace.lua');
    // Some 200 requests a second: the servers that are started have the same processors.
    writeFileSync(pace, 'function delay() return math.random(5, 15) end\n');
    const args = ['wrk', '-t', '1', '-c', '1', '-d', '3600', '--timeout', '10', '-s', pace];
    this.children = [[], ['-H', 'Connection: close']].map((more) =>
      spawn('ip', ['netns', 'exec', OUTSIDE, ...args, ...more, url], { stdio: ['ignore', 'pipe', 'inherit'] }),
    );
    this.reports = this.children.map((child) => {
      let text = '';
      child.stdout?.setEncoding('utf8').on('data', (more: string) => {
        text += more;
      });
      return new Promise((resolve) => child.once('close', () => resolve(text)));
    });
  }

  /** What wrk reports, with and without keep-alive. */
  stop(): Promise<string[]> {
    for (const child of this.children) child.kill('SIGINT');
    return Promise.all(this.reports);
  }
}

/** The files of the agents' server and of the agents, made from those of an authority. */
function useFiles(directory: string, authorities: readonly string[]): void {
  const from = (name: string): string => join(directory, name);
  const authority = authorities.map((path) => readFileSync(path, 'utf8')).join('');
  for (const [to, name] of [
    [pki.server, 'apiserver'],
    [pki.agent, 'admin'],
  ] as const) {
    replaceFile(to.authority, authority);
    // Key and certificate are two files: a reader between the two has a pair that does not match, and reads again.
    replaceFile(to.key, readFileSync(from(`${name}.key`), 'utf8'));
    replaceFile(to.certificate, readFileSync(from(`${name}.crt`), 'utf8'));
  }
}

function filesIn(directory: string): ServerFiles {
  mkdirSync(directory);
  return {
    authority: join(directory, 'ca.crt'),
    certificate: join(directory, 'tls.crt'),
    key: join(directory, 'tls.key'),
  };
}

/** A kubeconfig that names files. */
function kubeconfig(): string {
  const { authority, certificate, key } = pki.agent;
  const path = join(plane.directory, 'agents.kubeconfig');
  const cluster = { server: `https://${ADDRESS}:${FRONT_PORT}`, 'certificate-authority': authority };
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'c', cluster }],
    users: [{ name: 'u', user: { 'client-certificate': certificate, 'client-key': key } }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'x',
  };
  writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
  return path;
}

const startFront = (): void => plane.startServer(FRONT, FRONT_PORT, pki.server);
const apply = (...items: object[]): Promise<string> =>
  plane.kubectl(['apply', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));

const SERVER = "require('http').createServer((q, r) => r.end('hello')).listen(8080)";
const service = (name: string, nodePort: number): object => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'default' },
  spec: { type: 'NodePort', selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080, nodePort }] },
});

if (why === undefined) {
  test.before(async () => {
    plane = new ControlPlane(2);
    await plane.start();
    pki = { server: filesIn(join(plane.directory, 'server')), agent: filesIn(join(plane.directory, 'agent')) };
    const first = join(plane.directory, 'pki');
    useFiles(first, [join(first, 'ca.crt')]);
    startFront();
    await plane.whenReady(FRONT_PORT);
    for (const { name } of plane.nodes) plane.startAgent(name, kubeconfig());
    const pod = (name: string, nodeName: string): object => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: 'default', labels: { app: 'web' } },
      spec: { nodeName, containers: [{ name: 'main', image: 'process', command: [process.execPath, '-e', SERVER] }] },
    });
    // The controller of service accounts may not have made the default one yet.
    await eventually(
      () => apply(pod('web-1', 'n1'), pod('web-2', 'n2'), service('web', 31080), service('moves', PORTS[0])),
      30_000,
    );
    await plane.kubectl(['wait', '--for=condition=Ready', 'pod', '--all', '--timeout=60s']);
    await eventually(() => fetchAt(0, 31080), 20_000);
    await eventually(() => fetchAt(1, 31080), 20_000);
    // When a cluster's API server is away, its controllers can do nothing. With the other server they would take both nodes, whose
    // heartbeats they miss, for dead, and remove the pods from the Service (kube-controller-manager --node-monitor-grace-period).
    await plane.stop('controller-manager', 'SIGKILL');
    load = new Load(`http://${plane.nodes[0]?.ip}:31080/`, plane.directory);
  });
  test.after(() => plane?.remove());
}

const fetchAt = (node: number, port: number): Promise<string> =>
  plane.exec(OUTSIDE, 'curl', '-sS', '--max-time', '1', `http://${plane.nodes[node]?.ip}:${port}/`);

/** A change that the agents cannot learn of yet: the Service moves to the other port, which answers on no node. */
async function change(): Promise<number> {
  turn = 1 - turn;
  const port = PORTS[turn] as number;
  await apply(service('moves', port));
  return port;
}

/** Milliseconds from the moment the agents' server answers until every node serves the port. */
async function untilInForce(port: number): Promise<number> {
  await plane.whenReady(FRONT_PORT);
  const ready = performance.now();
  try {
    await Promise.all(plane.nodes.map((_, node) => eventually(() => fetchAt(node, port), 30_000)));
  } catch (error) {
    const logs = plane.nodes.map(({ name }) => `${name}:\n${plane.logOf(`agent-${name}`).slice(-2000)}`);
    throw new Error(`${(error as Error).message}\n${logs.join('\n')}`);
  }
  return Math.round(performance.now() - ready);
}

scenario(`the server is killed ${KILLS} times: what changed meanwhile is in force within 2 s, each time`, async () => {
  const took: number[] = [];
  for (let i = 0; i < KILLS; i++) {
    await plane.stop(FRONT, 'SIGKILL');
    const port = await change();
    startFront();
    took.push(await untilInForce(port));
  }
  console.log(`in force after ${took.join(', ')} ms`);
  assert.ok(Math.max(...took) < IN_FORCE_MS, `${took.join(', ')} ms`);
});

scenario(`the server is away for ${STOP_MS / 1000} s: changes are in force within 2 s after`, async () => {
  await plane.stop(FRONT, 'SIGTERM');
  const port = await change();
  await sleep(STOP_MS);
  startFront();
  const took = await untilInForce(port);
  console.log(`in force after ${took} ms`);
  assert.ok(took < IN_FORCE_MS, `${took} ms`);
});

scenario(
  'authority, server certificate and client certificates are replaced: the agents follow without a restart',
  async () => {
    const first = join(plane.directory, 'pki');
    const next = join(plane.directory, 'next-pki');
    mkdirSync(next, { mode: 0o700 });
    copyFileSync(join(first, 'sa.key'), join(next, 'sa.key'));
    await ensureCertificates(next, SERVER_NAMES);
    // As an administrator does it: both authorities are trusted, all certificates are replaced, the former authority goes.
    useFiles(first, [join(first, 'ca.crt'), join(next, 'ca.crt')]);
    await sleep(1500);
    useFiles(next, [join(first, 'ca.crt'), join(next, 'ca.crt')]);
    await sleep(1500);
    useFiles(next, [join(next, 'ca.crt')]);
    await plane.stop(FRONT, 'SIGKILL');
    const port = await change();
    startFront();
    const took = await untilInForce(port);
    console.log(`in force after ${took} ms`);
    assert.ok(took < IN_FORCE_MS, `${took} ms`);
    const nodes = `https://${ADDRESS}:${FRONT_PORT}/api/v1/nodes`;
    const status = (directory: string): Promise<string> => {
      const pair = ['--cert', join(directory, 'admin.crt'), '--key', join(directory, 'admin.key')];
      return plane.exec(OUTSIDE, 'curl', '-sk', '-o', '/dev/null', '-w', '%{http_code}', ...pair, nodes);
    };
    assert.equal([await status(first), await status(next)], ['401', '200'], 'only the new certificates are accepted');
  },
);

scenario('no request of all that time has failed', async () => {
  for (const report of await load.stop()) {
    assert.not.match(report, /Socket errors|Non-2xx/, report);
    const requests = Number(/(\d+) requests in/.exec(report)?.[1]);
    console.log(`${requests} requests`);
    assert.ok(requests > 500, report);
  }
});

test.run();
