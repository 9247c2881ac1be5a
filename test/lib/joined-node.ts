/**
 * A node that joins a running cluster by a kubeconfig, as a machine of its own would: a namespace on the underlay and an
 * agent in it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addNode } from '../../src/cluster/underlay.ts';
import { type Cluster, eventually, MAIN, nodeNetns } from './cluster.ts';

/** The API of a cluster on this machine, as nodes reach it. */
const API = 'https://172.18.0.1:6443';

export interface JoinedNodeOptions {
  readonly name: string;
  /** On the underlay, 172.18.0.0/24. */
  readonly ip: string;
  /** Options of `dataplane agent`, besides those that name the node and the cluster. */
  readonly args?: readonly string[];
}

export class JoinedNode {
  readonly name: string;
  readonly directory = mkdtempSync(join(tmpdir(), 'dataplane-node-'));
  readonly kubeconfig = join(this.directory, 'kubeconfig');
  /** What the agent has logged. */
  log = '';
  private readonly ip: string;
  readonly args: string[];
  private agent: ChildProcess | undefined;

  constructor({ name, ip, args = [] }: JoinedNodeOptions) {
    this.name = name;
    this.ip = ip;
    this.args = [...args];
  }

  /** Make the namespace, and a kubeconfig for the cluster. */
  async make(cluster: Pick<Cluster, 'cli'>): Promise<void> {
    const config = await cluster.cli('kubeconfig');
    writeFileSync(this.kubeconfig, config.replace(/server: .*/, `server: ${API}`), { mode: 0o600 });
    await addNode({ name: this.name, ip: this.ip }, '172.18.0.0/24', 1500);
  }

  /** Identify by a bearer token instead of the administrator's certificate. */
  useToken(token: string): void {
    const config = this.readConfig().replace(/client-certificate-data: .*\n.*client-key-data: .*/, `token: ${token}`);
    writeFileSync(this.kubeconfig, config, { mode: 0o600 });
  }

  /** Start the agent and wait for a line of its log. */
  async start(until = 'is forwarding'): Promise<void> {
    const state = ['--state', join(this.directory, 'state')];
    const command = [MAIN, 'agent', '--node', this.name, '--kubeconfig', this.kubeconfig, ...state, ...this.args];
    this.log = '';
    const child = spawn('nsenter', [`--net=/run/netns/${nodeNetns(this.name)}`, process.execPath, ...command], {
      stdio: 'pipe',
    });
    this.agent = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.log += text;
      });
    }
    await eventually(async () => (this.log.includes(until) ? true : undefined), 30_000).catch(() => {
      throw new Error(`the agent does not start: ${this.log}`);
    });
  }

  /** End the agent. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const { agent } = this;
    if (agent?.exitCode !== null || agent.signalCode !== null) return;
    const ended = new Promise((resolve) => agent.once('exit', resolve));
    agent.kill(signal);
    await ended;
  }

  /** End the agent and remove its files; the namespace goes with the cluster's. */
  async remove(): Promise<void> {
    await this.stop('SIGKILL');
    rmSync(this.directory, { recursive: true, force: true });
  }

  readConfig(): string {
    return readFileSync(this.kubeconfig, 'utf8');
  }
}
