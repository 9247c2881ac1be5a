/** Makes a fault happen, and ends it. What a fault changes is restored also when a step fails. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readClusterFile } from '../../../src/cluster/state.ts';
import { Failure } from '../../../src/worker/control.ts';
import { type Cluster, nodeNetns, output, podNetns, ROOT, run } from '../cluster.ts';
import { agentPid, WorkerControl } from '../node-processes.ts';
import type { Fault, FaultKind } from './plan.ts';

/** The cluster that the faults happen to. */
export interface Ground {
  readonly cluster: Cluster;
  /** The file with the offset of the processes' clocks. */
  readonly clockFile: string;
  /** The pod of a node from which connections are flooded. */
  readonly floodPod: Readonly<Record<string, string>>;
  /** Where the flood goes. */
  readonly floodTarget: string;
}

const OUTSIDE = 'dp-outside';
const UNDERLAY_MTU = 1500;

const outside = (...args: string[]): Promise<string> => output(run(['ip', '-n', OUTSIDE, ...args]));

/** Send a signal to a process, if it still runs. */
function signal(pid: number | undefined, name: NodeJS.Signals): void {
  try {
    if (pid !== undefined && pid > 1) process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function stopped(pid: number | undefined, forMs: number): Promise<void> {
  signal(pid, 'SIGSTOP');
  try {
    await sleep(forMs);
  } finally {
    // Its supervisor may have replaced it meanwhile.
    signal(pid, 'SIGCONT');
  }
}

function failWorker(node: string, how: number): void {
  const control = new WorkerControl(node);
  control.fail(0, how);
  control.close();
}

/** Put a relay into the wire of a node for a while. */
async function relayed({ node, forMs, seed }: Fault, thousandths: readonly number[]): Promise<void> {
  const program = join(ROOT, 'dist/test/lib/chaos/relay.js');
  const args = [process.execPath, program, 'relay-a', 'relay-b', `${seed}`, ...thousandths.map(String)];
  const relay = spawn('ip', ['netns', 'exec', OUTSIDE, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(relay, 'exit');
  try {
    await Promise.race([once(relay.stdout, 'data'), ended.then(() => Promise.reject(new Error('the relay ended')))]);
    await outside(
      'link',
      'add',
      'cut',
      'type',
      'bridge',
      'stp_state',
      '0',
      'forward_delay',
      '0',
      'mcast_snooping',
      '0',
    );
    await outside('link', 'set', 'cut', 'up');
    await outside('link', 'set', 'relay-a', 'master', 'cut', 'up');
    await outside('link', 'set', 'relay-b', 'master', 'underlay', 'up');
    await outside('link', 'set', `to-${node}`, 'master', 'cut');
    await sleep(forMs);
  } finally {
    await outside('link', 'set', `to-${node}`, 'master', 'underlay').catch(() => '');
    relay.stdin.end();
    await ended;
    await outside('link', 'delete', 'cut').catch(() => '');
  }
}

async function linkFlap({ node, forMs }: Fault): Promise<void> {
  // At the switch's end: the node sees its carrier go, and keeps its addresses and routes.
  await outside('link', 'set', `to-${node}`, 'down');
  try {
    await sleep(forMs);
  } finally {
    await outside('link', 'set', `to-${node}`, 'up');
  }
}

async function otherMtu({ node, forMs, amount }: Fault): Promise<void> {
  const set = (mtu: number) => output(run(['ip', '-n', nodeNetns(node), 'link', 'set', 'eth0', 'mtu', `${mtu}`]));
  await set(amount);
  try {
    await sleep(forMs);
  } finally {
    await set(UNDERLAY_MTU);
  }
}

/** No room in the file system with the cluster's state: only possible where /run is the test's own. */
async function diskFull({ forMs }: Fault): Promise<void> {
  const used = await output(run(['df', '--output=used', '-k', '/run']));
  const kilobytes = Number(used.trim().split('\n').at(-1));
  await output(run(['mount', '-o', `remount,size=${kilobytes + 4}k`, '/run']));
  try {
    await sleep(forMs);
  } finally {
    await output(run(['mount', '-o', 'remount,size=50%', '/run']));
  }
}

async function clockJump({ forMs, amount }: Fault, { clockFile }: Ground): Promise<void> {
  writeFileSync(clockFile, String(amount));
  try {
    await sleep(forMs);
  } finally {
    writeFileSync(clockFile, '0');
  }
}

/** One pod opens UDP connections from every port it has, as fast as it can. */
async function connectionFlood({ node, forMs }: Fault, { cluster, floodPod, floodTarget }: Ground): Promise<void> {
  const script = `
    const { createSocket } = require('dgram');
    const [host, port] = process.argv[1].split(':');
    let open = 0;
    const more = () => {
      const socket = createSocket('udp4');
      socket.on('error', () => {});
      socket.send('x', Number(port), host, () => { socket.close(); if (open++ < 60000) setImmediate(more); });
    };
    for (let i = 0; i < 16; i++) more();`;
  const child = cluster.start(podNetns(floodPod[node]!), [process.execPath, '-e', script, floodTarget]);
  const ended = once(child, 'exit');
  await sleep(forMs);
  child.kill('SIGKILL');
  await ended;
}

const INJECT: Readonly<Record<FaultKind, (fault: Fault, ground: Ground) => Promise<void> | void>> = {
  'agent-kill': ({ node }) => signal(agentPid(node), 'SIGKILL'),
  'agent-stop': ({ node, forMs }) => stopped(agentPid(node), forMs),
  'controller-kill': () => signal(readClusterFile()?.controller?.pid, 'SIGKILL'),
  'controller-stop': ({ forMs }) => stopped(readClusterFile()?.controller?.pid, forMs),
  'supervisor-kill': () => signal(readClusterFile()?.supervisor?.pid, 'SIGKILL'),
  'worker-throw': ({ node }) => failWorker(node, Failure.THROW),
  'worker-hang': ({ node }) => failWorker(node, Failure.HANG),
  'link-flap': linkFlap,
  mtu: otherMtu,
  loss: (fault) => relayed(fault, [fault.amount, 0, 0, 0]),
  duplicate: (fault) => relayed(fault, [0, fault.amount, 0, 0]),
  reorder: (fault) => relayed(fault, [0, 0, fault.amount, 0]),
  corrupt: (fault) => relayed(fault, [0, 0, 0, fault.amount]),
  'disk-full': diskFull,
  'clock-jump': clockJump,
  'connection-flood': connectionFlood,
};

/** Make the fault happen; resolves when it is over. */
export async function inject(fault: Fault, ground: Ground): Promise<void> {
  await INJECT[fault.kind](fault, ground);
}
