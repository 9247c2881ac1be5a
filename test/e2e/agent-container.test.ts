/**
 * An agent in a container that is replaced, as a DaemonSet does it on an update: SIGTERM, the end of everything in the
 * container, another container with the same paths of the machine. Meanwhile the standby forwards, outside of both.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { CNI_CONFIGURATION } from '../../src/agent/cni/installation.ts';
import { groupsOf } from '../../src/linux/cgroup/outside.ts';
import { findStandby } from '../../src/standby/find.ts';
import { eventually, MAIN, nodeNetns, output, podNetns, processPod, run, whyNoCluster } from '../lib/cluster.ts';
import { CalledPlugin } from '../lib/cni/called-plugin.ts';
import { NODE, NODE_IP, RuntimeNode, SERVED } from '../lib/cni/runtime-node.ts';
import { ContinuityWatch } from '../lib/continuity.ts';
import { RuncContainer, whyNoRunc } from '../lib/runc-container.ts';
import { testUnless } from '../lib/test-unless.ts';

const GRACE_MS = 10_000;
const CONNECTIONS = 100;
const OUTSIDE = 'dp-outside';
const NODE_PORT = 30718;

const test = suite('agent in a container');
const why = whyNoCluster() ?? (await whyNoRunc());
const scenario = testUnless(why, test);

let on: RuntimeNode;
let container: RuncContainer;
let watch: ContinuityWatch;
let load: ChildProcess[] = [];
let reports: Promise<string>[] = [];
let generation = 0;

/** The agent's container, and what it runs beside kubelet: the DaemonSet's arguments, and the paths of this test. */
async function startContainer(): Promise<void> {
  const { node } = on;
  container = new RuncContainer(`agent-${++generation}`);
  const state = ['--state', join(node.directory, 'state')];
  const agent = ['agent', '--node', NODE, '--kubeconfig', node.kubeconfig, '--standby', '--standby-outside', ...state];
  container.start([process.execPath, MAIN, ...agent, ...node.args], nodeNetns(NODE));
  await eventually(async () => (container.log.includes(SERVED) ? true : undefined), 40_000).catch(() => {
    throw new Error(`the agent does not start: ${container.log}`);
  });
}

const standby = () => findStandby(join(on.node.directory, 'state/nodes', NODE));

/** How many queues of TAP devices a process has open. */
function devicesOf(pid: number): number {
  const files = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
  return files.filter((file) => file.endsWith('/net/tun')).length;
}

/** Pid of the standby, as soon as it follows the agent: it has the devices dp0 and dp1 and the pod's. */
function following(): Promise<number> {
  return eventually(async () => {
    const pid = standby()?.pid;
    return pid !== undefined && devicesOf(pid) >= 3 ? pid : undefined;
  });
}

if (why === undefined) {
  test.before(async () => {
    on = await RuntimeNode.make([processPod('far', 'n1', ['sleep', 'infinity'])]);
    await startContainer();
    const sandbox = await on.makeSandbox('server', { app: 'web' });
    const { configuration, programs } = on.directories;
    const plugin = new CalledPlugin(join(configuration, CNI_CONFIGURATION), programs);
    const { ips } = await plugin.add(sandbox);
    const podIP = ips?.[0]?.address.split('/')[0] as string;
    const isReady = { type: 'Ready', status: 'True' };
    await on.client.patchStatus('Pod', 'server', 'default', {
      phase: 'Running',
      podIP,
      podIPs: [{ ip: podIP }],
      conditions: [isReady],
    });
    const ports = [{ port: 80, targetPort: 7180, nodePort: NODE_PORT }];
    await on.cluster.apply({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web', namespace: 'default' },
      spec: { type: 'NodePort', selector: { app: 'web' }, ports },
    });
    watch = new ContinuityWatch(podNetns('far'), sandbox.netns, podIP, CONNECTIONS);
    await watch.ready();
    const url = `http://${NODE_IP}:${NODE_PORT}/`;
    await eventually(() => on.cluster.fetch(OUTSIDE, url), 20_000);
    load = [[], ['-H', 'Connection: close']].map((more) =>
      spawn('ip', ['netns', 'exec', OUTSIDE, 'wrk', '-t1', '-c4', '-d600', '--timeout', '10', ...more, url], {
        stdio: ['ignore', 'pipe', 'inherit'],
      }),
    );
    reports = load.map(async (child) => (await child.stdout!.setEncoding('utf8').toArray()).join(''));
  });
  test.after(async () => {
    for (const child of load) child.kill('SIGKILL');
    watch?.end();
    await container?.remove();
    await on?.remove();
  });
}

scenario('the standby runs in no group of the container', async () => {
  const groups = groupsOf(await following());
  assert.not.match(groups, container.id);
  assert.match(groups, 'dataplane-standby');
});

for (const how of ['SIGTERM', 'SIGKILL'] as const) {
  scenario(`${how}: the next container's agent continues, and meanwhile the standby forwards`, async () => {
    await watch.report();
    const before = await following();
    if (how === 'SIGKILL') await container.remove();
    else await container.end(GRACE_MS);
    assert.is(standby()?.pid, before, 'the standby has ended with the container');
    await on.cluster.fetch(podNetns('far'), `http://${NODE_IP}:${NODE_PORT}/`);
    const ending = await watch.report();
    await startContainer();
    await eventually(async () => (standby()?.pid === before ? undefined : true));
    await following();
    const { lost, gapMs } = await watch.report('check');
    const gaps = [ending.gapMs, gapMs].map(Math.round).join(' and ');
    console.log(`longest time without an echo, when one container ends and when the next begins: ${gaps} ms`);
    assert.is(lost + ending.lost, 0, container.log);
  });
}

scenario('no request of all that time has failed', async () => {
  for (const child of load) child.kill('SIGINT');
  for (const report of await Promise.all(reports)) {
    assert.not.match(report, /Socket errors|Non-2xx/, report);
    const requests = Number(/(\d+) requests in/.exec(report)?.[1]);
    console.log(`${requests} requests, the slowest ${/Latency +\S+ +\S+ +(\S+)/.exec(report)?.[1]}`);
    assert.ok(requests > 100, report);
  }
});

scenario('`node reset` ends the standby, and removes its group', async () => {
  await container.end(GRACE_MS);
  const reset = ['node', 'reset', '--node', NODE, '--force', '--state', join(on.node.directory, 'state')];
  await output(run(['ip', 'netns', 'exec', nodeNetns(NODE), process.execPath, MAIN, ...reset]));
  assert.is(standby(), undefined);
});

test.run();
