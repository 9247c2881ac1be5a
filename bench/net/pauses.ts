/**
 * Does garbage collection ever pause a worker? The workers of two nodes forward 64-byte datagrams as fast as they can
 * for a minute, with V8's own trace of collections (`--trace-gc`) enabled in every thread of their agents.
 */
import { closeSync, openSync, readFileSync } from 'node:fs';
import { Port, SMALL_PAYLOAD_BYTES } from './contenders/contender.ts';
import { cli, dataplane, dataplaneUnavailable } from './contenders/dataplane.ts';
import { coresBetween, readCpu } from './lib/cpu.ts';
import { claimMachine, inside } from './lib/netns.ts';
import { benchOptions } from './lib/options.ts';
import { background, end, finish, runScript } from './lib/processes.ts';
import { compiled, describeMachine, missing } from './lib/tools.ts';

const HELP = `usage: node dist/bench/net/pauses.js [--seconds 60]
The exit status is 1 if a collection paused a worker for longer than 5 ms.
`;
const MOST_MS = 5;
/** The first seconds belong to start-up and to the compiler. */
const WARM_UP_SECONDS = 3;
const NODES = ['n1', 'n2'];
const agentLog = (node: string) => `/run/dataplane/agent-${node}.log`;
/**
 * Runs in every thread of every agent: V8 prints a line for each collection. (NODE_OPTIONS refuses the flag itself.)
 */
const TRACE = "import{setFlagsFromString}from'node:v8';if(process.argv[2]==='agent')setFlagsFromString('--trace-gc')";
/** `[pid:isolate] age of the isolate ms: kind sizes, pause / …` */
const LINE = /^\[\d+:(0x[0-9a-f]+)\]\s+(\d+) ms: (\S+) .*? MB, (?:pooled: .*?, )?([\d.]+) \/ /gm;

interface Collection {
  readonly worker: boolean;
  readonly kind: string;
  readonly milliseconds: number;
}

await runScript(async () => {
  const { seconds } = benchOptions(HELP, { rounds: 1, seconds: 60 });
  const lack = dataplaneUnavailable() ?? missing(['gcc']);
  if (lack) throw new Error(lack);
  claimMachine();
  process.env.NODE_OPTIONS = `--import data:text/javascript,${TRACE}`;
  const contender = dataplane();
  const network = await contender.up();
  delete process.env.NODE_OPTIONS;
  const upAt = performance.now();
  const { clientNetns, serverNetns, address } = network.acrossNodes!;
  const traffic = compiled('traffic');
  const whole = WARM_UP_SECONDS + seconds + 5;
  const receiver = await background(
    inside(serverNetns, traffic, 'udp-receive', String(Port.UDP), String(whole)),
    /ready/,
  );
  const send = async (length: number) => {
    const words = ['udp-send', address, Port.UDP, length, SMALL_PAYLOAD_BYTES].map(String);
    const sender = await finish(inside(clientNetns, traffic, ...words), (length + 10) * 1000);
    if (sender.status !== 0) throw new Error(`the sender failed: ${sender.stderr.trim()}`);
  };
  await send(WARM_UP_SECONDS);
  const age = performance.now() - upAt;
  const [cpuBefore, before] = [readCpu(network.forwarders), framesIn()];
  await send(seconds);
  const [cpuAfter, after] = [readCpu(network.forwarders), framesIn()];
  await end(receiver, 'SIGKILL');
  // V8 writes through stdio's buffer, which reaches the log when the agent ends; then `down` has unlinked it.
  const logs = NODES.map((node) => openSync(agentLog(node), 'r'));
  await contender.down();
  const collections = logs.map((log) => collectionsIn(readFileSync(log, 'utf8'), age));
  logs.forEach(closeSync);

  const machine = await describeMachine();
  process.stdout.write(`${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, Node ${process.version}\n`);
  const cores = coresBetween(cpuBefore, cpuAfter).process;
  process.stdout.write(`${seconds} s of 64-byte UDP across nodes, both agents on ${cores.toFixed(2)} cores\n`);
  NODES.forEach((node, at) => {
    const frames = after[at]! - before[at]!;
    const rate = frames / (cpuAfter.atMs - cpuBefore.atMs);
    process.stdout.write(`${node}: ${frames} frames, ${rate.toFixed(0)} kpps; ${summary(collections[at]!)}\n`);
    if (!(frames > 0)) throw new Error(`${node} forwarded nothing: nothing is shown`);
  });
  const longest = Math.max(0, ...collections.flat().map((one) => (one.worker ? one.milliseconds : 0)));
  process.stdout.write(
    `${longest <= MOST_MS ? 'met' : 'NOT MET'}: no collection stops a worker for over ${MOST_MS} ms\n`,
  );
  if (longest > MOST_MS) process.exitCode = 1;
});

/** Frames each node's workers have read so far. */
function framesIn(): number[] {
  const status = JSON.parse(cli('status', '-o', 'json')) as {
    nodes: { name: string; workers: { framesIn: number }[] }[];
  };
  return NODES.map((name) => {
    const workers = status.nodes.find((node) => node.name === name)?.workers ?? [];
    return workers.reduce((sum, worker) => sum + worker.framesIn, 0);
  });
}

/** Collections in isolates that are at least `age` milliseconds old. This includes all since the start of the measurement, because
 * every isolate was created before `up` ended. */
function collectionsIn(log: string, age: number): Collection[] {
  const lines = [...log.matchAll(LINE)];
  const main = lines[0]?.[1];
  if (main === undefined)
    throw new Error('no collection in the log at all, not even at start-up: the trace was not on');
  return lines
    .filter((line) => Number(line[2]) >= age)
    .map((line) => ({ worker: line[1] !== main, kind: line[3]!, milliseconds: Number(line[4]) }));
}

function summary(collections: readonly Collection[]): string {
  const say = (who: string, some: readonly Collection[]) => {
    if (some.length === 0) return `no collection in ${who}`;
    const longest = some.reduce((most, one) => (one.milliseconds > most.milliseconds ? one : most));
    return `${some.length} in ${who}, longest ${longest.milliseconds} ms (${longest.kind})`;
  };
  const workers = collections.filter(({ worker }) => worker);
  const main = collections.filter(({ worker }) => !worker);
  return `${say('its worker', workers)}; ${say("the agent's main thread", main)}`;
}
