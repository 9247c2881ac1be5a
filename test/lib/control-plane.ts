/**
 * A control plane of Kubernetes: etcd, kube-apiserver, kube-controller-manager and kube-scheduler in the namespace
 * dp-outside, as if it were a machine on the underlay. The programs are named by environment variables; they are built from
 * the Go module proxy (scripts/install-control-plane.sh).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import { createWriteStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { planNodes } from '../../src/cluster/nodes.ts';
import type { ClusterNode } from '../../src/cluster/state.ts';
import { makeNamespaces, makeUnderlay } from '../../src/cluster/underlay.ts';
import { ensureCertificates } from '../../src/controllers/access/certificates.ts';
import { adminKubeconfig } from '../../src/controllers/access/kubeconfig.ts';
import { dataplane, eventually, MAIN, nodeNetns, output, type Ran, run } from './cluster.ts';

const PROGRAMS = {
  etcd: process.env.ETCD,
  apiserver: process.env.KUBE_APISERVER,
  'controller-manager': process.env.KUBE_CONTROLLER_MANAGER,
  scheduler: process.env.KUBE_SCHEDULER,
  kubectl: process.env.KUBECTL,
} as const;
type Program = keyof typeof PROGRAMS;

const OUTSIDE = 'dp-outside';
export const ADDRESS = '172.18.0.1';
const PORT = 6443;
const PODS = '10.244.0.0/16';
const SERVICES = '10.96.0.0/12';

/** The reason there is no control plane here; undefined if there is. */
export function whyNoControlPlane(): string | undefined {
  const missing = Object.entries(PROGRAMS).filter(([, path]) => !path);
  if (missing.length === 0) return undefined;
  const name = (program: string) =>
    ['etcd', 'kubectl'].includes(program) ? program.toUpperCase() : `KUBE_${program.toUpperCase().replace('-', '_')}`;
  return `${missing.map(([program]) => name(program)).join(', ')} not set (scripts/install-control-plane.sh)`;
}

/** Files of an API server. */
export interface ServerFiles {
  /** Certificates of those that may sign a client's. */
  readonly authority: string;
  readonly certificate: string;
  readonly key: string;
}

/** Names and addresses that certificates of API servers are for. */
export const SERVER_NAMES = [
  'kubernetes',
  'kubernetes.default.svc',
  'localhost',
  '127.0.0.1',
  ADDRESS,
  '10.96.0.1',
] as const;

export class ControlPlane {
  readonly nodes: readonly ClusterNode[];
  readonly directory = mkdtempSync(join(tmpdir(), 'dataplane-control-plane-'));
  readonly kubeconfig = join(this.directory, 'kubeconfig');
  private readonly running = new Map<string, ChildProcess>();

  /** @param nodes how many machines for nodes */
  constructor(nodes: number) {
    this.nodes = planNodes(nodes, PODS, '172.18.0.0/24');
  }

  /** The machines, and the control plane on one of them, ready for requests. */
  async start(): Promise<void> {
    await makeNamespaces(this.nodes);
    await makeUnderlay(this.nodes, '172.18.0.0/24', 1500);
    const certificates = await ensureCertificates(join(this.directory, 'pki'), SERVER_NAMES);
    writeFileSync(this.kubeconfig, adminKubeconfig(`https://${ADDRESS}:${PORT}`, certificates), { mode: 0o600 });
    const { serviceAccountKey } = certificates;
    writeFileSync(this.serviceAccounts('key'), serviceAccountKey, { mode: 0o600 });
    writeFileSync(
      this.serviceAccounts('pub'),
      createPublicKey(serviceAccountKey).export({ type: 'spki', format: 'pem' }),
    );
    const client = 'http://127.0.0.1:2379';
    const peer = 'http://127.0.0.1:2380';
    this.startProgram('etcd', [
      ...['--data-dir', join(this.directory, 'etcd'), '--unsafe-no-fsync', '--log-level', 'error'],
      ...['--listen-client-urls', client, '--advertise-client-urls', client],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `default=${peer}`],
    ]);
    this.startApiServer();
    await this.whenReady();
    const kubeconfig = ['--kubeconfig', this.kubeconfig, '--leader-elect=false'];
    this.startProgram('controller-manager', [
      ...kubeconfig,
      ...['--allocate-node-cidrs', '--cluster-cidr', PODS, '--service-cluster-ip-range', SERVICES],
      ...['--root-ca-file', this.pki('ca.crt'), '--service-account-private-key-file', this.serviceAccounts('key')],
    ]);
    this.startProgram('scheduler', kubeconfig);
  }

  startApiServer(): void {
    this.startServer('apiserver', PORT, {
      authority: this.pki('ca.crt'),
      certificate: this.pki('apiserver.crt'),
      key: this.pki('apiserver.key'),
    });
  }

  /** Another API server of the same cluster, on a port of its own. */
  startServer(name: string, port: number, { authority, certificate, key }: ServerFiles): void {
    this.run(name, OUTSIDE, [
      PROGRAMS.apiserver as string,
      ...['--etcd-servers', 'http://127.0.0.1:2379', '--advertise-address', ADDRESS, '--secure-port', `${port}`],
      ...['--tls-cert-file', certificate, '--tls-private-key-file', key],
      ...['--client-ca-file', authority, '--authorization-mode', 'RBAC', '--allow-privileged'],
      // No name server knows the nodes.
      '--kubelet-preferred-address-types=InternalIP',
      ...['--service-account-key-file', this.serviceAccounts('pub')],
      ...['--service-account-signing-key-file', this.serviceAccounts('key')],
      ...['--service-account-issuer', 'https://kubernetes.default.svc', '--service-cluster-ip-range', SERVICES],
    ]);
  }

  /** Resolves when a server answers requests. */
  async whenReady(port = PORT): Promise<void> {
    const url = `https://127.0.0.1:${port}/readyz`;
    await eventually(
      async () => ((await this.exec(OUTSIDE, 'curl', '-sk', '--max-time', '1', url)) === 'ok' ? true : undefined),
      60_000,
    );
  }

  /** An agent on the machine of a node. */
  startAgent(node: string, kubeconfig = this.kubeconfig, args: readonly string[] = []): void {
    this.run(`agent-${node}`, nodeNetns(node), [
      ...[process.execPath, MAIN, 'agent', '--node', node, '--kubeconfig', kubeconfig, ...args],
    ]);
  }

  /** A kubelet on the machine of a node. */
  startKubelet(node: string, program: string, ...args: readonly string[]): void {
    this.run(`kubelet-${node}`, nodeNetns(node), [program, '--kubeconfig', this.kubeconfig, ...args]);
  }

  /** End a program and wait until it has ended. */
  async stop(name: string, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.running.get(name);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await ended;
  }

  logOf(name: string): string {
    return readFileSync(this.logFile(name), 'utf8');
  }

  tryKubectl(...args: readonly string[]): Promise<Ran> {
    return this.kubectlWith(args);
  }

  /** kubectl's output. @param input its standard input. @throws Error with its output if it failed */
  kubectl(args: readonly string[], input?: string): Promise<string> {
    return output(this.kubectlWith(args, input));
  }

  /** Output of a program in a namespace. @throws Error with its output if it failed */
  exec(netns: string, ...args: readonly string[]): Promise<string> {
    return output(run(['ip', 'netns', 'exec', netns, ...args]));
  }

  /** Everything ends; nothing is left. */
  async remove(): Promise<void> {
    for (const name of [...this.running.keys()].reverse()) await this.stop(name, 'SIGKILL');
    await output(dataplane(['down']));
    rmSync(this.directory, { recursive: true, force: true });
  }

  private kubectlWith(args: readonly string[], input?: string): Promise<Ran> {
    const command = [PROGRAMS.kubectl as string, '--kubeconfig', this.kubeconfig, ...args];
    return run(['ip', 'netns', 'exec', OUTSIDE, ...command], {
      ...(input !== undefined && { input }),
      env: { HOME: this.directory },
    });
  }

  private startProgram(program: Program, args: readonly string[]): void {
    this.run(program, OUTSIDE, [PROGRAMS[program] as string, ...args]);
  }

  private run(name: string, netns: string, command: readonly string[]): void {
    const log = createWriteStream(this.logFile(name), { flags: 'a' });
    const child = spawn('nsenter', [`--net=/run/netns/${netns}`, ...command], { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    this.running.set(name, child);
  }

  private logFile(name: string): string {
    return join(this.directory, `${name}.log`);
  }

  private pki(name: string): string {
    return join(this.directory, 'pki', name);
  }

  private serviceAccounts(half: 'key' | 'pub'): string {
    return join(this.directory, `service-accounts.${half}`);
  }
}
