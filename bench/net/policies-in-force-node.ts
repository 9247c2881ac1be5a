/**
 * A node of policies-in-force.ts: the agent's part in policies (src/agent/policies) in the main thread, and a worker thread
 * that processes a packet of an established connection again and again. Each change of its verdict is sent to the parent.
 */
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { attachNodeTable } from '../../native-free-dataplane/node/config.ts';
import { attachPolicies } from '../../native-free-dataplane/policies/table.ts';
import type { LiveConfig } from '../../src/agent/config.ts';
import { NodePolicies } from '../../src/agent/policies/node-policies.ts';
import { ApiClient } from '../../src/api/client/client.ts';
import { openShared } from '../../src/linux/shm.ts';
import { unlinkShared } from '../../src/linux/shm-files.ts';
import { macOf } from '../../src/net/pod-network.ts';
import { frame } from '../../test/lib/frames/frame-text.ts';
import { TestNode } from '../../test/lib/test-node.ts';

export const PROBED = 'probed';
export const CLIENT = '10.244.1.10';
export const SERVER = '10.244.1.11';
export const PORT = 80;
/** Between two packets, so that the two workers leave processor time to the other processes. */
const PAUSE_MS = 0.1;

/** Milliseconds of CLOCK_MONOTONIC, the same in all processes. */
export const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6;

/** The verdict of the probed connection, and since when. */
export interface Verdict {
  readonly allowed: boolean;
  readonly at: number;
}

const SELF = new URL(import.meta.url);

/** In the worker thread: it never returns. */
function forward(): void {
  const names: string[] = [];
  const memory = (bytes: number) => {
    const name = `dpb-policies-${process.pid}-${names.length}`;
    names.push(name);
    return openShared(name, { bytes, create: true }).buffer;
  };
  const emitter = { emit: () => {} };
  const node = new TestNode({ memory, policies: {}, emitter }).pod('client', CLIENT).pod('server', SERVER);
  parentPort!.postMessage(names);
  const cell = new Int32Array(new SharedArrayBuffer(4));
  const bytes = frame(`udp ${CLIENT}:4000 > ${SERVER}:${PORT} len 8`, { dstMac: macOf(SERVER) });
  for (let allowed: boolean | undefined; ; ) {
    const now = node.receiveBytes('client', bytes) === 'forwarded';
    if (now !== allowed) {
      allowed = now;
      parentPort!.postMessage({ allowed, at: nowMs() } satisfies Verdict);
    }
    Atomics.wait(cell, 0, 0, PAUSE_MS);
  }
}

function follow(socketPath: string): void {
  const worker = new Worker(SELF);
  worker.once('message', (names: string[]) => {
    // In the order in which TestNode asks for memory.
    const [, , routes = '', , , policies = ''] = names;
    const open = (name: string) => openShared(name).buffer;
    const tables = { node: attachNodeTable(open(routes))!, policies: attachPolicies(open(policies))! };
    for (const name of names) unlinkShared(name);
    const config = { current: { nameServer: undefined }, node: {} } as unknown as LiveConfig;
    const log = (line: string) => process.stderr.write(`${line}\n`);
    const client = new ApiClient(socketPath);
    const node = new NodePolicies({ client, tables, config, recordEvent: () => {}, log });
    node.start();
    // Until then everything is allowed, because nothing is known.
    let last: Verdict | undefined;
    let isSynced = false;
    const report = () => {
      if (isSynced && last !== undefined) process.send?.(last);
    };
    worker.on('message', (verdict: Verdict) => {
      last = verdict;
      report();
    });
    void node.whenSynced().then(() => {
      isSynced = true;
      report();
    });
  });
}

if (!isMainThread) forward();
else if (process.argv[1] === SELF.pathname && process.send) follow(process.argv[2]!);
