/** The floods of `npm run floods`: each is a program that two other pods must hardly notice. */
import { join } from 'node:path';
import { type Cluster, nodeNetns, output, podNetns, ROOT, run } from '../cluster.ts';

const OUTSIDE = 'dp-outside';
const NODE_IP = '172.18.0.11';
const NODE_PORT = 31_790;
const TAP = 'flood';

/** What the floods are aimed at. */
export interface Ground {
  readonly cluster: Cluster;
  /** Addresses of pods: one that is flooded, with servers, and one on another node that floods too. */
  readonly targetIp: string;
  readonly otherIp: string;
}

/** A flooding program that runs. */
export interface Running {
  /** Ends it. @returns how many packets or connections it has sent */
  end(): Promise<number>;
}

export interface Flood {
  readonly name: string;
  start(ground: Ground): Promise<Running>;
}

const program = (name: string): string => join(ROOT, 'dist/test/lib/floods', name);

/** Starts a program, which begins once it is ready and told to. */
async function begin(
  cluster: Cluster,
  netns: string,
  args: readonly string[],
  prepare: () => Promise<unknown> = async () => {},
): Promise<Running> {
  const descriptors = ['sh', '-c', 'ulimit -n 65536 2>/dev/null; exec "$@"', 'sh'];
  const child = cluster.start(netns, [...descriptors, process.execPath, ...args]);
  let text = '';
  child.stderr!.pipe(process.stderr, { end: false });
  await new Promise<void>((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`${args.join(' ')} ended with status ${code}`)));
    child.stdout!.setEncoding('utf8').on('data', (more: string) => {
      text += more;
      if (text.includes('ready')) resolve();
    });
  });
  await prepare();
  child.stdin!.write('go\n');
  return {
    end: () =>
      new Promise((resolve) => {
        child.once('close', () => resolve(Number(text.trim().split('\n').at(-1))));
        child.stdin!.end();
      }),
  };
}

/** Frames from random sources outside. @param text the frame; its source is replaced */
export const fromOutside = (name: string, rate: number, text: string) => ({
  name: `${name}, ${rate.toLocaleString('en-US')} a second`,
  start: async ({ cluster }: Pick<Ground, 'cluster'>) => {
    const link = await output(run(['ip', '-n', nodeNetns('n1'), '-j', 'link', 'show', 'eth0']));
    const [{ address }] = JSON.parse(link) as [{ address: string }];
    const attach = () => output(run(['ip', '-n', OUTSIDE, 'link', 'set', TAP, 'master', 'underlay', 'up']));
    return begin(cluster, OUTSIDE, [program('sender.js'), TAP, `${rate}`, text, address], attach);
  },
});

const fromPod = (
  name: string,
  pod: string,
  kind: string,
  aim: (ground: Ground) => [host: string, port: number],
): Flood => ({
  name,
  start: (ground) => {
    const [host, port] = aim(ground);
    return begin(ground.cluster, podNetns(pod), [program('pod-flood.js'), kind, host, `${port}`]);
  },
});

/** Several at once. */
const together = (name: string, ...floods: readonly Flood[]): Flood => ({
  name,
  start: async (ground) => {
    const running = await Promise.all(floods.map((flood) => flood.start(ground)));
    return { end: async () => (await Promise.all(running.map((it) => it.end()))).reduce((a, b) => a + b, 0) };
  },
});

/** Of the frames; the sender replaces it. */
const source = '198.18.0.1';
const nested = 'udp 10.244.2.2:9 > 10.244.1.2:9 len 64';

export const FLOODS: readonly Flood[] = [
  fromOutside('SYNs to a NodePort', 2000, `tcp ${source}:1000 > ${NODE_IP}:${NODE_PORT} S seq 1 <mss 1460>`),
  fromOutside('datagrams to a NodePort', 10_000, `udp ${source}:1000 > ${NODE_IP}:${NODE_PORT} len 64`),
  fromOutside('datagrams to a port without a Service', 5000, `udp ${source}:1000 > ${NODE_IP}:32001 len 64`),
  fromOutside(
    'forged reports of a smaller MTU',
    2000,
    `icmp ${source} > ${NODE_IP} unreachable fragmentation-needed mtu 552 (udp ${NODE_IP}:50000 > 172.18.0.12:4789 len 1000)`,
  ),
  fromOutside('forged overlay packets', 10_000, `vxlan ${source}:50000 > ${NODE_IP}:4789 vni 1 (${nested})`),
  fromOutside('pings', 5000, `icmp ${source} > ${NODE_IP} echo-request id 7 seq 1 len 56`),
  fromPod('datagrams of one pod to one address, from all its ports', 'bad', 'ports', ({ targetIp }) => [
    targetIp,
    7101,
  ]),
  fromPod('datagrams of one pod that are refused', 'bad', 'connections', ({ targetIp }) => [targetIp, 20_000]),
  together(
    'two pods that open as many connections as they can',
    fromPod('', 'bad', 'connections', ({ otherIp }) => [otherIp, 20_000]),
    fromPod('', 'worse', 'connections', ({ targetIp }) => [targetIp, 30_000]),
  ),
  fromPod('TCP connections of one pod that stay open', 'bad', 'held', ({ targetIp }) => [targetIp, 7100]),
];
export { NODE_PORT };
