/**
 * An agent as a node of a large cluster, whose API server is Kubernetes' own: how long it takes to start, and what start,
 * standing and each kind of change cost it in memory, processor time and bytes from the API.
 *
 * etcd and kube-apiserver run in this process's network namespace, the agent in one beside it. The bytes are those that its
 * device receives, TLS included. Run it in namespaces of its own (package.json, bench:scale).
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import { createWriteStream, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ApiClient } from '../../src/api/client/client.ts';
import { serverOfKubeconfig } from '../../src/api/client/kubeconfig.ts';
import { ensureCertificates } from '../../src/controllers/access/certificates.ts';
import { adminKubeconfig } from '../../src/controllers/access/kubeconfig.ts';
import { repositoryRoot } from '../lib/result-directory.ts';
import {
  type ClusterSize,
  clusterObjects,
  NODE_NETWORK,
  namespaceOf,
  nodeName,
  POD_CIDR,
  SERVICE_CIDR,
  type StoredObject,
  serviceName,
  slice,
  storedService,
} from './registry.ts';

const HELP = `usage: npm run bench:scale -- [--nodes 5000] [--pods 150000] [--services 50000] [--changes 300] [--output FILE]
ETCD and KUBE_APISERVER in the environment name the programs (scripts/install-control-plane.sh).
`;
const SERVER = '10.128.0.1';
const ETCD = 'http://127.0.0.1:2379';
const NETNS = 'dpb-scale';
/** Of etcd's transactions (--max-txn-ops). */
const BATCH = 500;
const WRITERS = 4;
const START_MS = 15 * 60_000;
const TICKS_PER_SECOND = 100;
const MB = 1024 * 1024;

const { values: given } = parseArgs({
  options: Object.fromEntries(
    ['nodes', 'pods', 'services', 'changes', 'output', 'help'].map((name) => [
      name,
      { type: name === 'help' ? ('boolean' as const) : ('string' as const) },
    ]),
  ),
});
if (given.help) {
  process.stdout.write(HELP);
  process.exit(0);
}
const size: ClusterSize = {
  nodes: Number(given.nodes ?? 5000),
  pods: Number(given.pods ?? 150_000),
  services: Number(given.services ?? 50_000),
};
const changes = Number(given.changes ?? 300);
const programs = { etcd: process.env.ETCD, apiserver: process.env.KUBE_APISERVER };
if (!programs.etcd || !programs.apiserver) {
  process.stderr.write(`bench:scale: ETCD or KUBE_APISERVER not set (scripts/install-control-plane.sh)\n${HELP}`);
  process.exit(2);
}

const directory = mkdtempSync(join(tmpdir(), 'dataplane-scale-'));
const running: ChildProcess[] = [];

function start(name: string, command: readonly string[], netns?: string): ChildProcess {
  const [program = '', ...args] = netns ? ['nsenter', `--net=/run/netns/${netns}`, ...command] : command;
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const log = createWriteStream(join(directory, `${name}.log`));
  child.stdout.pipe(log);
  child.stderr.pipe(log);
  running.push(child);
  return child;
}

const logOf = (name: string): string => readFileSync(join(directory, `${name}.log`), 'utf8');

function shell(script: string): void {
  const { status, stderr } = spawnSync('sh', ['-ec', script], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
}

async function eventually<T>(
  what: string,
  work: () => Promise<T | undefined> | T | undefined,
  limitMs: number,
): Promise<T> {
  for (const end = Date.now() + limitMs; Date.now() < end; await sleep(100)) {
    const result = await Promise.resolve()
      .then(work)
      .catch(() => undefined);
    if (result !== undefined) return result;
  }
  throw new Error(`${what}: not within ${limitMs / 1000} s`);
}

const agentOfEtcd = new Agent({ keepAlive: true });
/** A call of etcd's JSON gateway. */
function etcd(path: string, body: object): Promise<void> {
  return new Promise((resolve, reject) => {
    const call = request(`${ETCD}${path}`, { method: 'POST', agent: agentOfEtcd }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (more: string) => {
        text += more;
      });
      response.on('end', () => (response.statusCode === 200 ? resolve() : reject(new Error(text))));
    });
    call.on('error', reject);
    call.end(JSON.stringify(body));
  });
}

function store(objects: readonly StoredObject[]): Promise<void> {
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  const put = ({ key, object }: StoredObject): object => ({
    requestPut: { key: base64(`/registry/${key}`), value: base64(JSON.stringify(object)) },
  });
  return etcd('/v3/kv/txn', { success: objects.map(put) });
}

async function fillEtcd(): Promise<number> {
  const objects = clusterObjects(size);
  let stored = 0;
  const write = async (): Promise<void> => {
    for (;;) {
      const batch: StoredObject[] = [];
      for (let next = objects.next(); !next.done; next = objects.next()) {
        batch.push(next.value);
        if (batch.length === BATCH) break;
      }
      if (batch.length === 0) return;
      await store(batch);
      stored += batch.length;
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, write));
  return stored;
}

/** Memory, processor time and received bytes of the agent up to now. */
interface Usage {
  readonly residentMb: number;
  readonly peakMb: number;
  readonly cpuSeconds: number;
  readonly receivedBytes: number;
}

function usageOf(pid: number): Usage {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kilobytes = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1]) / 1024;
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  const device = readFileSync(`/proc/${pid}/net/dev`, 'utf8');
  return {
    residentMb: kilobytes('VmRSS'),
    peakMb: kilobytes('VmHWM'),
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND,
    receivedBytes: Number(/eth0:\s*(\d+)/.exec(device)?.[1]),
  };
}

async function startServers(): Promise<ApiClient> {
  shell(`ip netns add ${NETNS}
    ip link add dpb-server type veth peer name eth0 netns ${NETNS}
    ip address add ${SERVER}/16 dev dpb-server
    ip link set dpb-server up
    ip -n ${NETNS} link set lo up
    ip -n ${NETNS} link set eth0 up
    ip -n ${NETNS} address add 10.128.1.0/16 dev eth0
    ip -n ${NETNS} route add default via ${SERVER}`);
  const [listen, peer] = [ETCD, 'http://127.0.0.1:2380'];
  start('etcd', [
    programs.etcd as string,
    ...[
      '--data-dir',
      join(directory, 'etcd'),
      '--unsafe-no-fsync',
      '--log-level',
      'error',
      '--max-txn-ops',
      `${BATCH}`,
    ],
    ...['--quota-backend-bytes', `${8 * 1024 * MB}`, '--max-request-bytes', `${16 * MB}`],
    ...['--listen-client-urls', listen, '--advertise-client-urls', listen, '--listen-peer-urls', peer],
    ...['--initial-advertise-peer-urls', peer, '--initial-cluster', `default=${peer}`],
  ]);
  await eventually('etcd', () => etcd('/v3/kv/range', { key: 'AA==' }).then(() => true), 30_000);
  const pki = join(directory, 'pki');
  const certificates = await ensureCertificates(pki, ['localhost', '127.0.0.1', SERVER, '10.96.0.1']);
  const [key, pub] = ['key', 'pub'].map((half) => join(directory, `accounts.${half}`)) as [string, string];
  writeFileSync(key, certificates.serviceAccountKey, { mode: 0o600 });
  const spki = createPublicKey(certificates.serviceAccountKey).export({ type: 'spki', format: 'pem' });
  writeFileSync(pub, spki);
  writeFileSync(kubeconfig, adminKubeconfig(`https://${SERVER}:6443`, certificates), { mode: 0o600 });
  start('apiserver', [
    programs.apiserver as string,
    ...['--etcd-servers', ETCD, '--advertise-address', SERVER, '--secure-port', '6443'],
    ...['--tls-cert-file', join(pki, 'apiserver.crt'), '--tls-private-key-file', join(pki, 'apiserver.key')],
    ...['--client-ca-file', join(pki, 'ca.crt'), '--authorization-mode', 'RBAC'],
    ...['--service-account-key-file', pub, '--service-account-signing-key-file', key],
    ...['--service-account-issuer', 'https://kubernetes.default.svc', '--service-cluster-ip-range', SERVICE_CIDR],
  ]);
  const client = new ApiClient(serverOfKubeconfig(kubeconfig), { timeoutMs: 120_000 });
  await eventually('kube-apiserver', () => client.list('Namespace').then(() => true), START_MS);
  // Only now: it does not start unless it has checked the addresses of all Services within a minute.
  const beganMs = Date.now();
  const stored = await fillEtcd();
  // Its answers come from its caches, which follow etcd.
  for (const kind of ['Pod', 'Service', 'EndpointSlice'] as const) {
    await eventually(`kube-apiserver's ${kind}s`, () => client.list(kind, { namespace: namespaceOf(0) }), START_MS);
  }
  console.log(`${stored} objects stored in ${seconds(beganMs)} s`);
  await eventually(
    'the options',
    () =>
      client.create({
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { name: 'dataplane-config', namespace: 'kube-system' },
        data: { options: JSON.stringify({ podCidr: POD_CIDR, serviceCidr: SERVICE_CIDR }) },
      } as never),
    START_MS,
  );
  return client;
}

const kubeconfig = join(directory, 'kubeconfig');
const seconds = (sinceMs: number): number => Math.round((Date.now() - sinceMs) / 100) / 10;

/** Starts the agent; resolves when it forwards. */
async function startAgent(name: string): Promise<{ child: ChildProcess; startSeconds: number }> {
  const places = ['net.d', 'bin'].map((part) => join(directory, part));
  for (const place of places) mkdirSync(place, { recursive: true });
  const beganMs = Date.now();
  const main = join(repositoryRoot(), 'dist/bundle/cli/main.js');
  const child = start(
    name,
    [
      ...[process.execPath, main, 'agent', '--node', nodeName(0), '--kubeconfig', kubeconfig, '--cni'],
      ...['--cni-conf-dir', places[0] as string, '--cni-bin-dir', places[1] as string],
      ...['--cni-socket', join(directory, 'cni.sock'), '--state', join(directory, 'state')],
    ],
    NETNS,
  );
  await eventually(
    'the agent',
    () => {
      if (child.exitCode !== null) throw new Error(logOf(name));
      return /is forwarding/.test(logOf(name)) ? true : undefined;
    },
    START_MS,
  );
  return { child, startSeconds: seconds(beganMs) };
}

async function stopAgent(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await ended;
}

/** Until its processor time stands still: nothing is left to do. */
async function settled(pid: number): Promise<Usage> {
  let before = usageOf(pid);
  for (let still = 0; still < 3; ) {
    await sleep(1000);
    const now = usageOf(pid);
    still = now.cpuSeconds - before.cpuSeconds < 0.15 ? still + 1 : 0;
    before = now;
  }
  return before;
}

type Rows = Record<string, Record<string, number>>;

/** What one change costs, of as many as were asked for; what the agent uses without changes is subtracted. */
async function costOf(pid: number, change: (number: number) => Promise<unknown>): Promise<Record<string, number>> {
  const idleFrom = await settled(pid);
  await sleep(5000);
  const idleTo = usageOf(pid);
  const idlePerMs = (idleTo.cpuSeconds - idleFrom.cpuSeconds) / 5000;
  const beganMs = Date.now();
  for (let i = 0; i < changes; i++) await change(i);
  await sleep(1000);
  const tookMs = Date.now() - beganMs;
  const after = usageOf(pid);
  const cpuMs = (after.cpuSeconds - idleTo.cpuSeconds - idlePerMs * tookMs) * 1000;
  return {
    cpuMsPerChange: round(cpuMs / changes),
    bytesPerChange: Math.round((after.receivedBytes - idleTo.receivedBytes) / changes),
  };
}

const round = (value: number): number => Math.round(value * 100) / 100;
const rounded = (usage: Usage): Record<string, number> => ({
  residentMb: Math.round(usage.residentMb),
  peakMb: Math.round(usage.peakMb),
  cpuSeconds: round(usage.cpuSeconds),
  receivedMb: round(usage.receivedBytes / MB),
});

async function measure(client: ApiClient): Promise<Rows> {
  const rows: Rows = {};
  const show = (name: string, row: Record<string, number>): void => {
    rows[name] = row;
    console.log(
      `${name}: ${Object.entries(row)
        .map(([key, value]) => `${key} ${value}`)
        .join(', ')}`,
    );
  };
  const each = (rise: number, number: number): number => (number * rise) % size.services;
  const before = Number(
    /eth0:\s*(\d+)/.exec(
      spawnSync('ip', ['netns', 'exec', NETNS, 'cat', '/proc/self/net/dev'], { encoding: 'utf8' }).stdout,
    )?.[1],
  );

  const first = await startAgent('agent');
  const pid = first.child.pid as number;
  const started = await settled(pid);
  show('start', {
    seconds: first.startSeconds,
    ...rounded({ ...started, receivedBytes: started.receivedBytes - before }),
  });

  show(
    'an endpoint becomes unready',
    await costOf(pid, async (number) => {
      const which = each(37, number);
      const changed = slice(which, size, 0) as { endpoints: object[] };
      await client.patch(
        'EndpointSlice',
        `${serviceName(which)}-1`,
        { endpoints: changed.endpoints },
        { namespace: namespaceOf(which) },
      );
    }),
  );
  show(
    "a node's heartbeat",
    await costOf(pid, (number) =>
      client.patch(
        'Node',
        nodeName(1 + (number % (size.nodes - 1))),
        {
          status: {
            conditions: [
              {
                type: 'Ready',
                status: 'True',
                reason: 'KubeletReady',
                message: `${number}`,
                lastHeartbeatTime: new Date().toISOString(),
              },
            ],
          },
        },
        { subresource: 'status', type: 'strategic' },
      ),
    ),
  );
  show('a pod of another node changes', await costOf(pid, (number) => podChange(client, number)));
  show(
    'a Service is created',
    // By way of etcd like the others: at this size the API server takes seconds to allocate an address.
    await costOf(pid, (number) => store([storedService(size.services + number)])),
  );
  await client.create({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'one', namespace: namespaceOf(0) },
    spec: {
      podSelector: { matchLabels: { app: serviceName(0) } },
      ingress: [{ from: [{ namespaceSelector: {} }] }],
      policyTypes: ['Ingress'],
    },
  } as never);
  const withPolicy = await settled(pid);
  show('with the first NetworkPolicy', {
    ...rounded({
      ...withPolicy,
      receivedBytes: withPolicy.receivedBytes - started.receivedBytes,
      cpuSeconds: withPolicy.cpuSeconds - started.cpuSeconds,
    }),
  });
  show('a pod of another node changes, with it', await costOf(pid, (number) => podChange(client, number)));
  await stopAgent(first.child);

  const again = await startAgent('agent-again');
  const second = await settled(again.child.pid as number);
  show('start with a NetworkPolicy', { seconds: again.startSeconds, ...rounded({ ...second, receivedBytes: 0 }) });
  await stopAgent(again.child);
  return rows;
}

function podChange(client: ApiClient, number: number): Promise<unknown> {
  // Not one of node 0.
  const pod = 1 + number;
  const service = pod % size.services;
  const patch = { metadata: { annotations: { touched: `${Date.now()}` } } };
  return client.patch('Pod', `${serviceName(service)}-${pod}`, patch, { namespace: namespaceOf(service) });
}

try {
  const client = await startServers();
  const rows = await measure(client);
  client.close();
  const result = {
    size,
    changes,
    processor: cpus()[0]?.model,
    node: process.version,
    kernel: readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim(),
    network: NODE_NETWORK,
    rows,
  };
  if (given.output !== undefined) writeFileSync(given.output as string, `${JSON.stringify(result, undefined, 2)}\n`);
} catch (error) {
  process.exitCode = 1;
  console.error((error as Error).message);
  for (const name of ['agent', 'apiserver', 'etcd']) {
    try {
      console.error(`--- ${name}\n${logOf(name).slice(-1500)}`);
    } catch {
      // It was not started.
    }
  }
} finally {
  for (const child of running.reverse()) child.kill('SIGKILL');
  spawnSync('ip', ['netns', 'del', NETNS]);
  rmSync(directory, { recursive: true, force: true });
}
