/**
 * NetworkPolicy between real pods on two nodes: the cases of Kubernetes' own suite (test/lib/policies/upstream-cases.ts), with
 * its namespaces x, y, z and its pods a, b, c that listen on ports 80 and 81 over TCP, UDP and SCTP. SCTP is spoken over raw
 * sockets (test/lib/sctp-in-namespace.ts), because kernels often lack it.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { connectInNamespace } from '../../src/linux/connect.ts';
import { whyNoRawSocket } from '../../src/linux/raw-socket.ts';
import { type Cluster, dataplane, output, run } from '../lib/cluster.ts';
import { changeUnderLoad } from '../lib/policies/changes-under-load.ts';
import { type PolicyCluster, setPolicies, startPolicyCluster } from '../lib/policies/policy-cluster.ts';
import { A, type Expected, namespaceOf, policy, UPSTREAM_CASES } from '../lib/policies/upstream-cases.ts';
import { testUnless } from '../lib/test-unless.ts';

const test = suite('network policy');
/** The full form: npm run test:policies-under-load */
const FULL = process.env.POLICY_CHANGES_FULL === '1';
const CHANGES = FULL ? 1000 : 20;
let started: PolicyCluster;
let cluster: Cluster;
/** Address of each pod, by its name such as `x/a`. */
let ip: ReadonlyMap<string, string>;

test.before(async () => {
  started = await startPolicyCluster();
  ({ cluster, ip } = started);
});
test.after(async () => {
  await started?.down();
});

const expectReachable = (expected: Expected, ports?: readonly number[]) => started.expectReachable(expected, ports);

const pods = (...names: string[]) => ({
  podSelector: { matchExpressions: [{ key: 'pod', operator: 'In' as const, values: names }] },
});
const ns = (...names: string[]) => ({
  namespaceSelector: { matchExpressions: [{ key: 'ns', operator: 'In' as const, values: names }] },
});
const toXA = (to: string) => to === 'x/a';

for (const { name, steps } of UPSTREAM_CASES) {
  const obstacle = name.startsWith('SCTP') ? whyNoRawSocket() : undefined;
  testUnless(obstacle && `${name}: raw-socket: ${obstacle}`, test)(name, async () => {
    for (const { policies, labels = {}, probes } of steps) {
      await started.setLabels(labels);
      await setPolicies(...policies((pod) => ip.get(pod)!));
      await started.expectProbes(probes);
    }
    await started.setLabels({});
  });
}

test('the policies of both ends of a connection must allow it', async () => {
  await setPolicies(
    policy('x', 'egress', { ...A, policyTypes: ['Egress'], egress: [{ to: [ns('y')] }] }),
    policy('y', 'ingress', { ...A, ingress: [{ from: [ns('z')] }] }),
  );
  await expectReachable(
    (from, to) => (from !== 'x/a' || namespaceOf(to) === 'y') && (to !== 'y/a' || namespaceOf(from) === 'z'),
  );
});

test('a range of ports (endPort) allows its ports alone', async () => {
  await setPolicies(
    policy('x', 'range', { ...A, policyTypes: ['Egress'], egress: [{ ports: [{ port: 79, endPort: 80 }] }] }),
  );
  await expectReachable((from, _, port) => from !== 'x/a' || port === 80, [80, 81]);
});

test('should enforce policy to allow traffic to a pod by CIDR, and except', async () => {
  const block = { cidr: '10.244.0.0/16', except: [`${ip.get('x/b')}/32`] };
  await setPolicies(policy('x', 'cidr', { ...A, ingress: [{ from: [{ ipBlock: block }] }] }));
  await expectReachable((from, to) => !toXA(to) || from !== 'x/b');
});

test('should enforce updated policy, and stop enforcing a deleted one', async () => {
  await setPolicies(policy('x', 'changing', { ...A, policyTypes: ['Ingress'] }));
  await expectReachable((_, to) => !toXA(to));
  await cluster.apply(policy('x', 'changing', { ...A, ingress: [{ from: [ns('z')] }] }));
  await expectReachable((from, to) => !toXA(to) || namespaceOf(from) === 'z');
  await setPolicies();
  await expectReachable(() => true);
});

test('should allow ingress access from an updated pod, and from an updated namespace', async () => {
  await setPolicies(
    policy('x', 'labels', {
      ...A,
      ingress: [
        {
          from: [
            { namespaceSelector: { matchLabels: { team: 'red' } }, podSelector: { matchLabels: { role: 'dev' } } },
          ],
        },
      ],
    }),
  );
  await expectReachable((_, to) => !toXA(to));
  const label = (kind: string, name: string, namespace: string | undefined, labels: object) =>
    cluster.apply({ apiVersion: 'v1', kind, metadata: { name, ...(namespace && { namespace }), labels } });
  await label('Namespace', 'y', undefined, { ns: 'y', team: 'red' });
  await expectReachable((_, to) => !toXA(to));
  const { items } = await cluster.get<{ items: { metadata: { name: string; labels: object } }[] }>('pods', '-n', 'y');
  const b = items.find(({ metadata }) => metadata.name === 'b')!;
  await output(
    dataplane(['apply', '-f', '-'], {
      input: JSON.stringify({
        ...b,
        metadata: { name: 'b', namespace: 'y', labels: { pod: 'b', role: 'dev' } },
        status: undefined,
      }),
    }),
  );
  await expectReachable((from, to) => !toXA(to) || from === 'y/b');
});

test('a connection that was established before a policy ends with it, and goes on when it is removed', async () => {
  await setPolicies();
  const socket = connectInNamespace('/run/netns/dp-pod-y-b', ip.get('x/b')!, 80);
  await new Promise((resolve) => socket.once('data', resolve));
  socket.destroy();
  const before = await dropsOf('policy-ingress');
  await setPolicies(policy('x', 'deny', { podSelector: {}, policyTypes: ['Ingress'] }));
  await expectReachable((_, to) => namespaceOf(to) !== 'x');
  assert.ok((await dropsOf('policy-ingress')) > before, 'nothing was counted');
});

async function dropsOf(verdict: string): Promise<number> {
  const { nodes } = await cluster.status();
  return nodes.flatMap(({ workers }) => workers).reduce((sum, { drops }) => sum + (drops[verdict] ?? 0), 0);
}

test(`${CHANGES} changes under load: what is allowed loses nothing, and what is denied ends`, async () => {
  const lateness = await changeUnderLoad(started, { changes: CHANGES, withinMs: FULL ? 20 : 2000 });
  const sorted = lateness.sort((a, b) => a - b);
  const share = (part: number) => sorted[Math.floor((sorted.length - 1) * part)]!.toFixed(1);
  console.log(`a denial is in force after ${share(0.5)} ms (p50), ${share(0.99)} ms (p99), ${share(1)} ms (max)`);
});

test('policy explain names the rule that decides, and trace the verdict', async () => {
  await setPolicies(
    policy('x', 'deny', { podSelector: {}, policyTypes: ['Ingress'] }),
    policy('x', 'allow-b', { ...A, ingress: [{ from: [pods('b')], ports: [{ port: 80 }] }] }),
  );
  const explain = (...words: string[]) => dataplane(['policy', 'explain', ...words, '-n', 'x']);
  const allowed = await explain('pod/b', 'pod/a:80');
  assert.is(allowed.status, 0, allowed.stderr);
  assert.match(allowed.stdout, 'pod x/b -> pod x/a TCP 80: allowed');
  // How often it has decided so far.
  assert.match(allowed.stdout, 'rule 1: allows it (decided 0)');
  const opened = connectInNamespace('/run/netns/dp-pod-x-b', ip.get('x/a')!, 80);
  await new Promise((resolve) => opened.once('data', resolve));
  opened.destroy();
  assert.match((await explain('pod/b', 'pod/a:80')).stdout, /rule 1: allows it \(decided [12]\)/);
  const denied = await explain('pod/c', 'pod/a:80');
  assert.is(denied.status, 1);
  assert.match(denied.stdout, /^ {2}no rule allows it \(decided \d+\)$/m);
  assert.match(
    denied.stdout,
    /rule 1 of x\/allow-b would have to match pod x\/c with pod=c \(it has pods pod in \(b\) in x\)/,
  );
  const traced = await dataplane(['trace', 'pod/c', '--to', `${ip.get('x/a')}:80`, '-n', 'x', '-o', 'json']);
  const [at] = JSON.parse(traced.stdout) as {
    verdict: string;
    wouldDiffer: string[];
    steps: { stage: string; row?: { text: string[] } }[];
  }[];
  assert.is(at?.verdict, 'policy-ingress', traced.stderr);
  const decided = 'x/allow-b, x/deny (no rule allows it)';
  assert.equal(at?.steps.find(({ stage }) => stage === 'network policy')?.row?.text, [
    'egress: no policy decides',
    `ingress: denied by ${decided}`,
  ]);
  assert.match(
    at?.wouldDiffer[0] ?? '',
    /^a rule of x\/allow-b, x\/deny would have to allow ingress from pod x\/c to pod x\/a/,
  );
});

test('kubelet’s probes and the node itself reach isolated pods; the outside does not', async () => {
  await setPolicies(policy('x', 'deny', { podSelector: {}, policyTypes: ['Ingress', 'Egress'] }));
  const fetch = (place: string) =>
    run([
      'nsenter',
      `--net=/run/netns/${place}`,
      'curl',
      '-s',
      '--http0.9',
      '--max-time',
      '1',
      `http://${ip.get('x/a')}/`,
    ]);
  assert.is((await fetch('dp-node-n1')).stdout, 'open');
  assert.is((await fetch('dp-node-n2')).status, 28, 'another node is a peer like any address');
});

test.run();
