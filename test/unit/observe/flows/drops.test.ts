/** Packets that did not arrive, and verdicts of policies, as Hubble's flows. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { NumberedRule } from '../../../../native-free-dataplane/policies/rules.ts';
import { Verdict } from '../../../../native-free-dataplane/verdicts.ts';
import type { NetworkPolicy } from '../../../../src/api/types/network-policy.ts';
import { FlowPolicies } from '../../../../src/observe/flows/policies.ts';
import { printCompact } from '../../../../src/observe/hubble/print.ts';
import { addresses, DROPPED_SYN, dropOf, maker, TIME, TO_WEB } from '../../../lib/flows.ts';

const test = suite('drops as flows');
const PLAIN = { nodeName: false, numeric: false };
const NAMED = { ...PLAIN, policyNames: true };

const CLIENT = '10.244.1.2';
const WEB = '10.244.2.2';

const policy = (namespace: string, name: string, spec: NetworkPolicy['spec']): NetworkPolicy =>
  ({ metadata: { namespace, name }, spec }) as NetworkPolicy;

test('a refused connection has its pod, its Service, and the reason by Hubble’s name and by ours', () => {
  const [flow, ...more] = maker().of(
    { node: 'n1', kind: 'DROP', drop: dropOf(Verdict.REJECTED_TCP_RESET, DROPPED_SYN) },
    TIME,
  );
  assert.equal(more, []);
  assert.is(flow?.verdict, 'DROPPED');
  assert.is(flow?.drop_reason_desc, 'SERVICE_BACKEND_NOT_FOUND');
  assert.is(flow?.source?.pod_name, 'client');
  assert.equal(flow?.destination_service, { name: 'web', namespace: 'shop' });
  assert.is(flow?.traffic_direction, 'EGRESS');
  assert.match(
    printCompact(flow!, PLAIN),
    /: default\/client:40000 \(ID:\d+\) -> shop\/web:80 \(world\) Service backend not found DROPPED \(rejected-tcp-reset: TCP Flags: SYN\)$/,
  );
});

test('a denied connection: the verdict of the policies that isolate the pod, then the drop, both with their names', () => {
  const denying = maker(
    policy('shop', 'deny-all', { podSelector: {} }),
    policy('shop', 'from-admins', { ingress: [{ from: [{ podSelector: { matchLabels: { app: 'admin' } } }] }] }),
    policy('default', 'other', { podSelector: {} }),
  );
  const packet = { ...DROPPED_SYN, endpoint: { ip: WEB, port: 8080 } };
  const [verdict, dropped] = denying.of(
    { node: 'n1', kind: 'DROP', drop: dropOf(Verdict.POLICY_INGRESS, packet) },
    TIME,
  );
  const names = ['deny-all', 'from-admins'].map((name) => ({ name, namespace: 'shop', kind: 'NetworkPolicy' }));
  assert.equal(verdict?.ingress_denied_by, names);
  assert.equal(dropped?.ingress_denied_by, names);
  assert.is(dropped?.destination?.pod_name, 'web-7d4b9');
  assert.match(
    printCompact(verdict!, NAMED),
    /-> shop\/web-7d4b9:8080 \(ID:\d+\) policy-verdict:none INGRESS DENIED BY deny-all \(NetworkPolicy\), from-admins \(NetworkPolicy\) \(TCP Flags: SYN\)$/,
  );
  assert.match(
    printCompact(dropped!, PLAIN),
    / Policy denied DROPPED \(policy-ingress by shop\/deny-all, shop\/from-admins: TCP Flags: SYN\)$/,
  );
});

test('the rule that the node has denied it by is named, also that of a ClusterNetworkPolicy', () => {
  const packet = { ...DROPPED_SYN, endpoint: { ip: '10.244.2.2', port: 8080 } };
  const drop = dropOf(Verdict.POLICY_INGRESS, packet);
  const rule = { number: 1, policies: 'default/a, default/b and 3 others', name: '', index: 0, count: 1 } as const;
  const namesOf = (more: Pick<NumberedRule, 'tier'> & Partial<NumberedRule>) =>
    maker()
      .of({ node: 'n1', kind: 'DROP', drop, rule: { ...rule, direction: 'ingress', ...more } }, TIME)
      .map(({ ingress_denied_by }) => ingress_denied_by);
  const listed = ['a', 'b'].map((name) => ({ name, namespace: 'default', kind: 'NetworkPolicy' }));
  assert.equal(namesOf({ tier: 'namespaced' }), [listed, listed]);
  const summary = (given: Partial<NumberedRule>) =>
    maker()
      .of({ node: 'n1', kind: 'DROP', drop, rule: { ...rule, direction: 'ingress', tier: 'admin', ...given } }, TIME)
      .at(-1)?.Summary;
  assert.is(
    summary({ policies: 'no-internet', index: 2, name: 'cidrs' }),
    'policy-ingress by ClusterNetworkPolicy no-internet rule 2 "cidrs": TCP Flags: SYN',
  );
  const cluster = [{ name: 'no-internet', namespace: '', kind: 'ClusterNetworkPolicy' }];
  assert.equal(namesOf({ tier: 'admin', policies: 'no-internet', index: 2 }), [cluster, cluster]);
});

test('an allowed connection has a verdict at the node of each pod that is isolated', () => {
  const allowing = maker(
    policy('shop', 'from-clients', {
      ingress: [{ from: [{ namespaceSelector: {} }], ports: [{ port: 8080 }] }, { ports: [{ port: 9 }] }],
    }),
    policy('default', 'to-all', { policyTypes: ['Egress'], egress: [{}] }),
  );
  const lines = (node: string) =>
    allowing.of({ node, kind: 'NEW', flow: TO_WEB }, TIME).map((flow) => printCompact(flow, NAMED));
  const [egress, sent] = lines('n1');
  assert.match(egress ?? '', / policy-verdict:all EGRESS ALLOWED BY to-all \(NetworkPolicy\) \(TCP Flags: SYN\)$/);
  assert.match(sent ?? '', / to-overlay FORWARDED /);
  const [ingress, received] = lines('n2');
  assert.match(ingress ?? '', / policy-verdict:L3-L4 INGRESS ALLOWED BY from-clients \(NetworkPolicy\) /);
  assert.match(received ?? '', / to-endpoint FORWARDED /);
});

test('a changed policy changes the verdicts after it', () => {
  const known = addresses();
  const policies = new FlowPolicies(known.policyPod);
  const connection = { from: CLIENT, to: WEB, protocol: 6, port: 8080 };
  assert.is(policies.judge(connection).ingress, undefined);
  const deny = policy('shop', 'deny-all', { podSelector: {} });
  policies.setPolicy(deny);
  assert.is(policies.judge(connection).ingress?.allowed, false);
  policies.removePolicy(deny);
  assert.is(policies.judge(connection).ingress, undefined);
});

test('a verdict that Cilium has no reason for is named as ours; a packet without addresses has the sentence', () => {
  const lost = dropOf(Verdict.WRITE_QUEUE_FULL, { ...DROPPED_SYN, protocol: 17, tcpFlags: 0, dst: WEB, dstPort: 53 });
  const [flow] = maker().of({ node: 'n2', kind: 'DROP', drop: { ...lost, inPort: 0 } }, TIME);
  assert.not('drop_reason_desc' in flow!);
  assert.is(flow?.traffic_direction, 'INGRESS');
  assert.match(printCompact(flow!, PLAIN), / <> .* write-queue-full DROPPED \(write-queue-full: UDP\)$/);
  const [unseen] = maker().of({ node: 'n1', kind: 'DROP', drop: dropOf(Verdict.FRAME_TRUNCATED, undefined) }, TIME);
  assert.is(unseen?.IP, undefined);
  assert.match(
    printCompact(unseen!, PLAIN),
    /: {2}\(unknown\) <> {2}\(unknown\) Invalid packet DROPPED \(frame-truncated: /,
  );
});

test.run();
