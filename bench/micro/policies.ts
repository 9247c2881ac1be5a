/**
 * What network policies cost a packet: without the code of policies, without policies, and with 10 to 10,000 policies that
 * allow the connection. These take turns, the first three on the same node, so that neither other load on the machine nor
 * where its tables lie makes a difference; and the lowest percentiles are compared. V8 does not compile the same code alike
 * each time, which alone makes 5 %: the figures are medians over several processes.
 */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { nextGeneration } from '../../native-free-dataplane/node/config.ts';
import { activeImageBytes, publishImage, withdrawImage } from '../../native-free-dataplane/policies/table.ts';
import type { NetworkPolicy } from '../../src/api/types/network-policy.ts';
import type { AddressedPod } from '../../src/compile/policies/kept-pods.ts';
import { parsePolicy } from '../../src/compile/policies/parse-policy.ts';
import { INLINING_FLAGS } from '../../src/worker/inlining.ts';
import { median, quantile } from '../lib/statistics.ts';
import type { BenchNode } from './lib/bench-node.ts';
import { bundledLoops, type PipelineModule, workersPipeline } from './lib/bundles.ts';
import { NewConnections } from './lib/new-connections.ts';
import { putInForce } from './lib/policies.ts';
import type { Fact } from './lib/results.ts';
import { CLIENTS, ENDPOINTS, SCENARIOS, udpConversation } from './lib/scenarios.ts';

/** From a pod to a ClusterIP, whose endpoint is on the same node: the node judges both ends. */
const SCENARIO = SCENARIOS[2]!;
const FLOWS = 1000;
const LIVE = 16_384;
const BATCH = 1024;
const ROUNDS = 150;
const WARM_UP = 60;
const PROCESSES = 7;
const SELF = fileURLToPath(import.meta.url);
const PODS = 10_000;
/** Other load can only add to a time. */
const SHARE = 0.05;

/** How frames of a node are processed, and the nanoseconds that a frame took in each round. */
interface Mode {
  readonly name: string;
  readonly policies: boolean;
  readonly pipeline: PipelineModule;
  readonly times: number[];
}

/** A node, and the work that is timed on it: `run` with the pipeline, `alone` without. */
interface Measured {
  readonly node: BenchNode;
  readonly modes: readonly Mode[];
  readonly run: () => void;
  readonly alone: () => void;
}

export async function measure(): Promise<Fact[]> {
  const found: Fact[][] = [];
  for (let i = 0; i < PROCESSES; i++) found.push(await inProcess());
  return found[0]!.map((fact, row) => ({ ...fact, value: median(found.map((facts) => facts[row]!.value)) }));
}

function inProcess(): Promise<Fact[]> {
  return new Promise((resolve, reject) => {
    const child = fork(SELF, { execArgv: [...INLINING_FLAGS] });
    child.once('message', (facts) => resolve(facts as Fact[]));
    child.once('exit', (code) => reject(new Error(`a process ended with status ${code} and no result`)));
  });
}

/** Run in a process of its own. */
async function measureOnce(): Promise<Fact[]> {
  const without = await bundledLoops<PipelineModule>('without-policies');
  const mode = (name: string, policies: boolean, pipeline = workersPipeline()): Mode => ({
    name,
    policies,
    pipeline,
    times: [],
  });
  const three = () => [
    mode('without the code of policies', false, without),
    mode('no policies', false),
    mode('1000 policies', true),
  ];
  const established = measuredEstablished(1000, three());
  const first = measuredFirst(1000, three());
  const [few, most] = [
    measuredFirst(10, [mode('10 policies', true)]),
    measuredFirst(10_000, [mode('10,000 policies', true)]),
  ];
  const all = [established, first, few, most];
  for (let round = 0; round < WARM_UP + ROUNDS; round++) for (const one of all) time(one, round);
  return [
    ...factsOf('established packet', [established]),
    ...ratios('established packet', established.modes, 1.02),
    ...factsOf('first packet and expiry', [first, few, most]),
    ...ratios('first packet and expiry', first.modes, 1.3),
    ratio('first packet and expiry: 1000 policies, to 10', first.modes[2]!, few.modes[0]!, 1.2),
    ratio('first packet and expiry: 10,000 policies, to 10', most.modes[0]!, few.modes[0]!, 1.2),
    { name: '10,000 policies: image', value: activeImageBytes(most.node.dp.policies) / 1024, unit: 'KiB' },
  ];
}

function measuredEstablished(count: number, modes: readonly Mode[]): Measured {
  const { node, requests } = udpConversation(SCENARIO, FLOWS);
  allow(node, count);
  const frames = node.frames(requests);
  const run = () => {
    for (let i = 0; i < BATCH; i++) {
      frames.load();
      node.process();
    }
  };
  const alone = () => {
    for (let i = 0; i < BATCH; i++) frames.load();
  };
  return { node, modes, run, alone };
}

function measuredFirst(count: number, modes: readonly Mode[]): Measured {
  const { node } = udpConversation(SCENARIO, 1);
  allow(node, count);
  const connections = new NewConnections(node, SCENARIO, 'udp', LIVE);
  return { node, modes, run: () => connections.open(BATCH), alone: () => connections.putAlone(BATCH) };
}

const member = (role: string, ip: string): AddressedPod => ({ ip, namespace: 'ns-0', labels: { role }, ports: [] });
const MEMBERS: readonly AddressedPod[] = [
  ...Array.from({ length: CLIENTS }, (_, k) => member('client', SCENARIO.client(k).address)),
  ...Array.from({ length: ENDPOINTS }, (_, k) => member('server', `10.244.1.${2 + k}`)),
];

/** Both ends of the scenario's connections are isolated, and allowed to connect. @param count of all policies */
function allow(node: BenchNode, count: number): void {
  const pods = (role: string) => ({ podSelector: { matchLabels: { role } } });
  const ports = ['TCP', 'UDP'].map((protocol) => ({ protocol, port: 8080 }));
  const own = [
    { ...pods('client'), policyTypes: ['Egress'], egress: [{ to: [pods('server')], ports }] },
    { ...pods('server'), ingress: [{ from: [pods('client')], ports }] },
  ].map((spec, i) =>
    parsePolicy({ metadata: { name: `own-${i}`, namespace: 'ns-0' }, spec } as unknown as NetworkPolicy),
  );
  // Into both images, so that either can be put in force.
  for (let i = 0; i < 2; i++) putInForce(node.dp, { own, members: MEMBERS, count: count - own.length, pods: PODS });
}

function time({ node, modes, run, alone }: Measured, round: number): void {
  for (let i = 0; i < modes.length; i++) {
    const { policies, pipeline, times } = modes[(i + round) % modes.length]!;
    if (policies) publishImage(node.dp.policies);
    else withdrawImage(node.dp.policies);
    nextGeneration(node.dp.node);
    node.pipeline = pipeline;
    // Established flows look their routes up again, and are judged.
    run();
    const begin = performance.now();
    run();
    const processed = performance.now();
    alone();
    const put = performance.now();
    if (round >= WARM_UP) times.push(((processed - begin - (put - processed)) * 1e6) / BATCH);
  }
}

const best = ({ times }: Mode): number => quantile(times, SHARE);

const factsOf = (what: string, measured: readonly Measured[]): Fact[] =>
  measured
    .flatMap(({ modes }) => modes)
    .map((mode) => ({ name: `${what}, ${mode.name}`, value: best(mode), unit: 'ns' }));

const ratio = (name: string, a: Mode, b: Mode, atMost: number): Fact => ({
  name,
  value: best(a) / best(b),
  unit: 'times',
  atMost,
});

/** Of the three modes of a node. */
function ratios(what: string, [without, none, some]: readonly Mode[], atMost: number): Fact[] {
  return [
    ratio(`${what}: no policies, to the pipeline without their code`, none!, without!, 1.03),
    ratio(`${what}: 1000 policies, to none`, some!, none!, atMost),
  ];
}

if (process.argv[1] === SELF && process.send) {
  process.send(await measureOnce());
  process.disconnect();
}
