/**
 * Endpoints are added, removed and replaced dozens of times (long-form.ts) while clients keep sending: not one request fails.
 * Kubernetes requires 95 % (test/e2e/network/loadbalancer.go, "should not have connectivity disruption during rolling
 * update").
 */
import type { ChildProcess } from 'node:child_process';
import * as assert from 'uvu/assert';
import { nodeNetns } from '../lib/cluster.ts';
import { times } from '../lib/long-form.ts';
import { echoPod, nodePort, OUTSIDE, serviceObject, vip } from '../lib/services/services.ts';
import { N1, N2, serviceSuite } from '../lib/services/suite.ts';

const CHANGES = times(40, 100);
/** How long a pod keeps serving after it is asked to end, before it finishes open requests. */
const LINGER = 'linger=1000';

/** The present pods, oldest first, by node. */
const pods: Record<'n1' | 'n2', string[]> = { n1: [], n2: [] };
let made = 0;
const nextPod = (node: 'n1' | 'n2') => {
  const name = `roll-${made++}`;
  pods[node].push(name);
  return echoPod(name, node, 'roll', { serve: ['tcp:80', LINGER], graceSeconds: 5 });
};

const { test, cluster, s } = await serviceSuite('rolling change', {
  manifests: [nextPod('n1'), nextPod('n1'), nextPod('n2'), nextPod('n2')],
});

interface Load {
  readonly place: string;
  readonly child: ChildProcess;
  readonly report: Promise<string>;
}

/** wrk with one connection per request, until it is interrupted. */
function load(netns: string, place: string): Load {
  const args = ['wrk', '-t', '1', '-c', '2', '-d', '280', '--timeout', '2', '-H', 'Connection: close'];
  const child = cluster.start(netns, [...args, `http://${place}/`]);
  let text = '';
  child.stdout?.setEncoding('utf8').on('data', (more: string) => {
    text += more;
  });
  return { place, child, report: new Promise((resolve) => child.once('close', () => resolve(text))) };
}

/** Starts one more pod on this node; resolves when it is ready. */
async function add(node: 'n1' | 'n2'): Promise<void> {
  const object = nextPod(node);
  await s.api.create(object as never);
  await s.pod(object.metadata.name);
}

/** Begins to delete the oldest pod of this node. */
async function remove(node: 'n1' | 'n2'): Promise<void> {
  await s.remove('Pod', pods[node].shift() as string);
}

test('should not have connectivity disruption during rolling update with externalTrafficPolicy=Cluster and Local', async () => {
  const type = 'NodePort' as const;
  const everywhere = await s.serve(serviceObject('roll', 'roll', { type }), 4);
  const local = await s.serve(serviceObject('roll-local', 'roll', { type, externalTrafficPolicy: 'Local' }), 4);
  const places = [N1, N2].map((node) => `${node}:${nodePort(everywhere)}`);
  const localPlace = `${N1}:${nodePort(local)}`;
  for (const place of [...places, localPlace])
    await s.eventuallyNames(OUTSIDE, place, await namesOf(place === localPlace));
  const loads = [
    ...places.map((place) => load(OUTSIDE, place)),
    load(OUTSIDE, localPlace),
    load(nodeNetns('n2'), `${vip(everywhere)}:80`),
  ];

  for (let changes = 0; changes < CHANGES; ) {
    const [one, other] = changes % 4 === 0 ? (['n1', 'n2'] as const) : (['n2', 'n1'] as const);
    // Added on one node while another goes on the other; then the other way round; then replaced in place.
    await Promise.all([add(one), remove(other)]);
    await Promise.all([add(other), remove(one)]);
    changes += 4;
  }

  for (const { child } of loads) child.kill('SIGINT');
  const drops = (await cluster.status()).nodes.flatMap(({ workers }) => workers.map((worker) => worker.drops));
  for (const { place, report } of loads) {
    const text = `${await report}\nrefused and dropped, by node: ${JSON.stringify(drops)}`;
    const requests = Number(/(\d+) requests in/.exec(text)?.[1]);
    assert.ok(requests > CHANGES, `${place}: ${text}`);
    assert.not.match(text, /Socket errors|Non-2xx/, `${place}: ${text}`);
  }
});

/** The present pods, of node n1 or of both. */
async function namesOf(local: boolean): Promise<string[]> {
  return local ? pods.n1 : [...pods.n1, ...pods.n2];
}

test.run();
