/**
 * The CNI plugin as programs of others call it: cnitool, containerd by ctr and crictl, with the addresses of the agent or of
 * host-local. Containers come and go while plugins and agents are killed, and nothing of them is left. With CNI_FULL=1
 * (`npm run test:cni`) a thousand of them.
 *
 * CNITOOL and CRICTL name the programs of the Go module proxy (scripts/install-clients.sh); containerd, runc and host-local are
 * Debian's.
 */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { CNI_BIN_DIR, CNI_CONFIG_DIR, CNI_CONFIGURATION } from '../../src/agent/cni/installation.ts';
import type { Pod } from '../../src/api/types/objects.ts';
import type { CniResult } from '../../src/cni/protocol.ts';
import { eventually, nodeNetns, output, processPod, type Ran, run, whyNoCluster } from '../lib/cluster.ts';
import type { CniContainer } from '../lib/cni/called-plugin.ts';
import { Containerd, coverDirectories, IMAGE, whyNoContainerd } from '../lib/cni/containerd.ts';
import { makeContainer, NODE, NODE_IP, RuntimeNode, removeContainer, SERVED } from '../lib/cni/runtime-node.ts';
import { seededRandom } from '../lib/seeded-random.ts';
import { testUnless } from '../lib/test-unless.ts';

const IS_FULL = process.env.CNI_FULL === '1';
const SEED = Number(process.env.CNI_SEED ?? 7);
const { CNITOOL: cnitool, CRICTL: crictl } = process.env;
const HOST_LOCAL = '/usr/lib/cni/host-local';
/** Where host-local keeps what it has assigned. */
const ASSIGNED = '/var/lib/cni/networks/dataplane';
const SERVER = "require('http').createServer((q, r) => r.end(q.socket.remoteAddress)).listen(8080, '0.0.0.0')";

const test = suite('CNI plugin, called by programs of others');
const whyNoTool = cnitool ? undefined : 'CNITOOL not set (scripts/install-clients.sh)';
const byTool = testUnless(whyNoTool, test);
const byContainerd = testUnless(whyNoContainerd() ?? (crictl ? undefined : 'CRICTL not set'), test);
const byHostLocal = testUnless(whyNoTool ?? (existsSync(HOST_LOCAL) ? undefined : `${HOST_LOCAL} is not there`), test);

let on: RuntimeNode;
let containerd: Containerd;

test.before(async () => {
  // In this process's mount namespace only: the plugin and its configuration are where programs look for them.
  coverDirectories('/run/covered', '/etc', '/opt', '/var/lib');
  rmSync(CNI_CONFIG_DIR, { recursive: true, force: true });
  rmSync(ASSIGNED, { recursive: true, force: true });
  const far = processPod('far', 'n1', [process.execPath, '-e', SERVER]);
  on = await RuntimeNode.make([far], { configuration: CNI_CONFIG_DIR, programs: CNI_BIN_DIR });
  await on.node.start(SERVED);
  containerd = new Containerd('/run/test-containerd', NODE);
});
test.after(async () => {
  await containerd?.stop();
  await on?.remove();
});

const network = (): string =>
  (JSON.parse(readFileSync(join(CNI_CONFIG_DIR, CNI_CONFIGURATION), 'utf8')) as { name: string }).name;
const addressOf = ({ ips }: CniResult): string => ips?.[0]?.address.split('/')[0] as string;
const farIP = async (): Promise<string> => (await on.cluster.get<Pod>('pod', 'far')).status?.podIP as string;

/** cnitool identifies a container by the path of its namespace. */
function tool(command: string, { netns }: CniContainer, env: NodeJS.ProcessEnv = {}): Promise<Ran> {
  const args = [cnitool as string, command, network(), `/run/netns/${netns}`];
  return run(args, { env: { NETCONFPATH: CNI_CONFIG_DIR, CNI_PATH: `${CNI_BIN_DIR}:/usr/lib/cni`, ...env } });
}

const add = async (container: CniContainer, env?: NodeJS.ProcessEnv): Promise<CniResult> =>
  JSON.parse(await output(tool('add', container, env))) as CniResult;
const hasDevice = async ({ netns }: CniContainer): Promise<boolean> =>
  (await run(['ip', '-n', netns, 'link', 'show', 'eth0'])).status === 0;

byTool('cnitool: add, check, status and del connect a container, and disconnect it', async () => {
  const container = await makeContainer('tool');
  await output(tool('status', container));
  const CAP_ARGS = JSON.stringify({ portMappings: [{ hostPort: 18090, containerPort: 8080, protocol: 'tcp' }] });
  const result = await add(container, { CAP_ARGS });
  assert.is(result.cniVersion, '1.1.0', 'libcni chooses the newest version of the list');
  on.cluster.start(container.netns, [process.execPath, '-e', SERVER]);
  const url = `http://${addressOf(result)}:8080/`;
  assert.is(await eventually(() => on.cluster.fetch('dp-pod-default-far', url)), await farIP());
  assert.ok(await eventually(() => on.cluster.fetch('dp-outside', `http://${NODE_IP}:18090/`)));
  await output(tool('check', container, { CAP_ARGS }));
  await output(run(['ip', '-n', container.netns, 'link', 'delete', 'eth0']));
  assert.match((await tool('check', container, { CAP_ARGS })).stderr, 'there is no device eth0');
  await output(tool('del', container, { CAP_ARGS }));
  await output(tool('del', container, { CAP_ARGS }));
  assert.equal(on.attachments(), []);
  await removeContainer(container);
});

byContainerd('containerd: pods of crictl and a container of ctr have a network, and leave nothing', async () => {
  await containerd.start();
  const namespaces = readdirSync('/run/netns').length;
  const { uid } = await on.makePod('sandbox', { app: 'sandbox' });
  const file = join(on.node.directory, 'sandbox.json');
  writeFileSync(
    file,
    JSON.stringify({ metadata: { name: 'sandbox', namespace: 'default', uid, attempt: 1 }, linux: {} }),
  );
  const cri = (...args: string[]): Promise<string> => output(containerd.crictl(crictl as string, ...args));
  const id = (await cri('runp', file)).trim();
  const { status } = JSON.parse(await cri('inspectp', id)) as { status: { network: { ip: string } } };
  const [attachment] = on.attachments();
  assert.is(status.network.ip, attachment?.ip);
  assert.is(`${attachment?.namespace}/${attachment?.name}`, 'default/sandbox');
  const main = join(on.node.directory, 'container.json');
  const web = ['sh', '-c', 'echo hello > /tmp/index.html; httpd -f -p 8080 -h /tmp'];
  writeFileSync(main, JSON.stringify({ metadata: { name: 'main' }, image: { image: IMAGE }, command: web, linux: {} }));
  const container = (await cri('create', id, main, file)).trim();
  await cri('start', container);
  const url = `http://${status.network.ip}:8080/`;
  for (const from of ['dp-pod-default-far', nodeNetns(NODE)]) {
    assert.is(await eventually(() => on.cluster.fetch(from, url)), 'hello\n');
  }
  const asked = await cri('exec', container, 'wget', '-qO-', `http://${await farIP()}:8080/`);
  assert.is(asked, status.network.ip);
  await cri('rmp', '-f', id);

  // Not detached: ctr then disconnects the container when it has ended.
  const running = containerd.ctr('run', '--rm', '--cni', IMAGE, 'plain', ...web);
  const plain = await eventually(async () => on.attachments()[0]);
  assert.is(plain.namespace, 'cni.');
  assert.is(await eventually(() => on.cluster.fetch('dp-pod-default-far', `http://${plain.ip}:8080/`)), 'hello\n');
  await output(containerd.ctr('task', 'kill', '-s', 'SIGKILL', 'plain'));
  await running;
  assert.equal(on.attachments(), []);
  assert.is(readdirSync('/run/netns').length, namespaces);
});

byHostLocal('host-local assigns the addresses, from the pod network of the node, and has none left after', async () => {
  await on.node.stop();
  on.node.args.push('--cni-ipam', 'host-local');
  await on.node.start(SERVED);
  const containers = await Promise.all([makeContainer('delegated'), makeContainer('other')]);
  const assigned = () => readdirSync(ASSIGNED).filter((name) => /^\d+\./.test(name));
  for (const container of containers) {
    const result = await add(container);
    assert.equal(assigned().includes(addressOf(result)), true);
    await output(tool('check', container));
    assert.ok(await hasDevice(container));
  }
  const [first, second] = containers as [CniContainer, CniContainer];
  await output(tool('del', first));
  assert.is(assigned().length, 1);
  // The agent refuses, and the address that was assigned is released.
  await output(run(['ip', '-n', first.netns, 'tuntap', 'add', 'eth0', 'mode', 'tap']));
  assert.match((await tool('add', first)).stderr, 'has a device eth0 already');
  assert.is(assigned().length, 1);
  // Without an agent, DEL fails, and is repeated until it succeeds.
  await on.node.stop('SIGKILL');
  assert.match((await tool('del', second)).stderr, 'the agent of dataplane is not running');
  assert.is(assigned().length, 1);
  await on.node.start(SERVED);
  await output(tool('del', second));
  assert.equal(assigned(), []);
  assert.not(await hasDevice(second));
  for (const container of containers) await removeContainer(container);
  await on.node.stop();
  on.node.args.splice(on.node.args.indexOf('--cni-ipam'), 2);
  await on.node.start(SERVED);
});

/** Pids of the plugin's processes; in the test's own PID namespace. */
function plugins(): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => {
      try {
        return pid > 0 && readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('/cni/main.js');
      } catch {
        return false;
      }
    });
}

const AT_ONCE = 4;
const ROUNDS = IS_FULL ? 250 : 6;
const MEASURED = 100;

byTool(
  `${AT_ONCE * ROUNDS} ADD and DEL while plugins and agents are killed: no address, device or namespace is left`,
  async () => {
    const random = seededRandom(SEED);
    const containers = await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => makeContainer(`churn-${i}`)));
    const names = readdirSync('/run/netns').sort();
    let [killed, agents, added] = [0, 0, 0];
    for (let round = 0; round < ROUNDS; round++) {
      const adding = Promise.all(containers.map((container) => tool('add', container)));
      const what = random.below(4);
      if (what === 0) {
        await sleep(random.below(60));
        for (const pid of plugins()) {
          if (random.below(2) === 0) continue;
          try {
            process.kill(pid, 'SIGKILL');
            killed++;
          } catch {
            // It has just ended.
          }
        }
      }
      const isAgentKilled = what === 1 && random.below(IS_FULL ? 8 : 2) === 0;
      if (isAgentKilled) {
        await sleep(random.below(60));
        await on.node.stop('SIGKILL');
        agents++;
      }
      added += (await adding).filter(({ status }) => status === 0).length;
      if (isAgentKilled) await on.node.start(SERVED);
      // As runtimes do: after a failed ADD too, DEL is called until it succeeds.
      await Promise.all(
        containers.map((one) =>
          eventually(async () => ((await tool('del', one)).status === 0 ? true : undefined), 20_000),
        ),
      );
      for (const container of containers)
        assert.not(await hasDevice(container), `${container.netns} in round ${round}`);
    }
    console.log(
      `${AT_ONCE * ROUNDS} ADD, ${added} succeeded; ${killed} plugins and ${agents} agents killed; seed ${SEED}`,
    );
    assert.equal(on.attachments(), []);
    assert.equal(readdirSync('/run/netns').sort(), names);
    for (const container of containers) await removeContainer(container);
  },
);

// Others compute beside the short form.
if (IS_FULL) {
  byTool('ADD takes less than 80 ms (median), by cnitool', async () => {
    const container = await makeContainer('timed');
    const times: number[] = [];
    for (let i = 0; i < MEASURED; i++) {
      const before = performance.now();
      await add(container);
      times.push(performance.now() - before);
      await output(tool('del', container));
    }
    times.sort((a, b) => a - b);
    const [median, ...rest] = [0.5, 0.9, 0.999].map((share) => times[Math.floor(times.length * share)] as number);
    console.log(
      `ADD by cnitool: p50, p90, longest of ${MEASURED}: ${[median, ...rest].map((ms) => ms?.toFixed(1)).join(', ')} ms`,
    );
    assert.ok((median as number) < 80, `p50 ${median} ms`);
    await removeContainer(container);
  });

  byTool('after all of that every address of the node can be assigned', async () => {
    const container = await makeContainer('many');
    const total = 253;
    for (let i = 0; i < total; i++) await add(container, { CNI_IFNAME: `e${i}` });
    const { status, stderr } = await tool('add', container, { CNI_IFNAME: 'last' });
    assert.is(status, 1);
    assert.match(stderr, 'no address is left');
    assert.match((await tool('status', container)).stderr, 'no address is left');
    for (let i = 0; i < total; i++) await output(tool('del', container, { CNI_IFNAME: `e${i}` }));
    assert.equal(on.attachments(), []);
    await removeContainer(container);
  });
}

if (whyNoCluster() === undefined) test.run();
