/**
 * Short connections per second from behind one address: from a pod to one server outside, and from outside by a NodePort
 * with one endpoint. With DATAPLANE_BASELINE=/path/to/main.js of another build, both are measured in alternation and
 * their best rounds compared, because other load on the machine can only make a round slower.
 *
 * Whether any connection fails, however many there are, is tested by test/e2e/source-ports.test.ts.
 */
import type { Outcome } from '../../test/lib/short-connections.ts';
import { repositoryRoot } from '../lib/result-directory.ts';
import { bringUp, dataplaneUnavailable, idlePod, podNetns, takeDown } from './contenders/dataplane.ts';
import { claimMachine, inside } from './lib/netns.ts';
import { benchOptions } from './lib/options.ts';
import { background, end, finish, runScript, sleep } from './lib/processes.ts';

const HELP = `usage: node dist/bench/net/short-connections.js [--rounds 3]
DATAPLANE_BASELINE=/path/to/main.js in the environment: another build to compare with. The exit status is 1 if this build's
best round is more than a tenth slower.
`;
/** Fewer than a build can make that does not use the ports of closed connections again: 16,130. */
const CONNECTIONS = 12_000;
const WARM_UP = 2000;
const NODE_PORT = 31_418;
const SLOWER = 0.9;
/** Attempts to reach a server that is being started. */
const TRIES = 50;
const OUTSIDE = 'dp-outside';
const PROGRAM = [process.execPath, `${repositoryRoot()}/dist/test/lib/short-connections.js`];
const WAYS = ['from a pod to the outside', 'from outside by a NodePort'] as const;

const service = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'server', namespace: 'default' },
  spec: { type: 'NodePort', selector: { app: 'server' }, ports: [{ port: 80, nodePort: NODE_PORT }] },
};

/** Connections per second of each way. @throws Error if one failed */
async function measure(): Promise<number[]> {
  const { nodes } = await bringUp('short-connections', [idlePod('client', 'n1'), idlePod('server', 'n1'), service], 1);
  const servers = await Promise.all([
    background(inside(podNetns('server'), ...PROGRAM, 'serve', '80')),
    background(inside(OUTSIDE, ...PROGRAM, 'serve', '8080')),
  ]);
  const rates: number[] = [];
  for (const [netns, host, port] of [
    [podNetns('client'), '172.18.0.1', 8080],
    [OUTSIDE, nodes[0]!.ip, NODE_PORT],
  ] as const) {
    const connect = async (count: number): Promise<Partial<Outcome>> => {
      const ran = await finish(inside(netns, ...PROGRAM, 'connect', host, `${port}`, `${count}`), 120_000);
      return JSON.parse(ran.stdout || '{}') as Partial<Outcome>;
    };
    for (let tries = 0; (await connect(1)).done !== 1; tries++) {
      if (tries === TRIES) throw new Error(`${host}:${port} does not answer ${netns}`);
      await sleep(100);
    }
    for (const count of [WARM_UP, CONNECTIONS]) {
      const outcome = await connect(count);
      if (outcome.done !== count) throw new Error(`${netns} to ${host}:${port}: ${JSON.stringify(outcome)}`);
      if (count === CONNECTIONS) rates.push(outcome.perSecond ?? 0);
    }
  }
  for (const server of servers) await end(server);
  await takeDown();
  return rates;
}

await runScript(async () => {
  const { rounds } = benchOptions(HELP, { rounds: 3, seconds: 1 });
  const lack = dataplaneUnavailable();
  if (lack) throw new Error(lack);
  claimMachine();
  const baseline = process.env.DATAPLANE_BASELINE;
  const own = process.env.DATAPLANE;
  const builds = [...(baseline ? [{ name: 'baseline', path: baseline }] : []), { name: 'this build', path: own }];
  const best = new Map<string, number[]>();
  for (let round = 1; round <= rounds; round++) {
    for (const { name, path } of builds) {
      if (path === undefined) delete process.env.DATAPLANE;
      else process.env.DATAPLANE = path;
      const rates = await measure();
      process.stdout.write(`round ${round}, ${name}: ${rates.join(' and ')} per second\n`);
      best.set(
        name,
        rates.map((rate, i) => Math.max(rate, best.get(name)?.[i] ?? 0)),
      );
    }
  }
  const [ours = [], theirs] = [best.get('this build'), best.get('baseline')];
  for (const [i, way] of WAYS.entries()) {
    const ratio = theirs === undefined ? 1 : ours[i]! / theirs[i]!;
    const beside = theirs === undefined ? '' : `, the baseline ${theirs[i]}: ${ratio.toFixed(2)} times as many`;
    process.stdout.write(`${way}: ${ours[i]} per second${beside}\n`);
    if (ratio < SLOWER) process.exitCode = 1;
  }
});
