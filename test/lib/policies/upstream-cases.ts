/**
 * The cases of Kubernetes' own NetworkPolicy suite (test/e2e/network/netpol/network_policy.go, v1.34) by their names: what
 * each puts in force, and which of the pods x/a to z/c reach which. As there, a pod that reaches itself is not looked at.
 */
import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort } from '../../../src/api/types/network-policy.ts';
import type { LabelSelector } from '../../../src/api/types/objects.ts';

export const NAMESPACES = ['x', 'y', 'z'] as const;
const NAMES = ['a', 'b', 'c'];
export const PODS: readonly string[] = NAMESPACES.flatMap((namespace) => NAMES.map((name) => `${namespace}/${name}`));
export const namespaceOf = (pod: string): string => pod.split('/')[0]!;
export const nameOf = (pod: string): string => pod.split('/')[1]!;

/** Whether a pod such as `x/a` should reach another. */
export type Expected = (from: string, to: string, port: number) => boolean;

export interface Probe {
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  readonly ports: readonly number[];
  readonly expected: Expected;
}

export type Spec = NonNullable<NetworkPolicy['spec']>;

export interface Step {
  /** All policies that are in force then. @param ip the address of a pod */
  readonly policies: (ip: (pod: string) => string) => readonly NetworkPolicy[];
  /** Labels beyond those that pods and namespaces always have, by name such as `x/a` or `y`. */
  readonly labels?: Readonly<Record<string, Record<string, string>>>;
  readonly probes: readonly Probe[];
}

export interface UpstreamCase {
  readonly name: string;
  readonly steps: readonly Step[];
}

export const policy = (namespace: string, name: string, spec: Spec): NetworkPolicy =>
  ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace, name },
    spec,
  }) as NetworkPolicy;

const term = (key: string, operator: 'In' | 'NotIn', ...values: string[]): LabelSelector => ({
  matchExpressions: [{ key, operator, values }],
});

export const A = { podSelector: { matchLabels: { pod: 'a' } } } as const satisfies Spec;
const EVERY = { podSelector: {} } as const satisfies Spec;
const podB: NetworkPolicyPeer = { podSelector: { matchLabels: { pod: 'b' } } };
const nsY: NetworkPolicyPeer = { namespaceSelector: { matchLabels: { ns: 'y' } } };
const notX: NetworkPolicyPeer = { namespaceSelector: term('ns', 'NotIn', 'x') };

const from = (...peers: NetworkPolicyPeer[]) => ({ ingress: [{ from: peers }] });
const fromYTo = (port: NetworkPolicyPort) => ({ ingress: [{ from: [nsY], ports: [port] }] });
const only = (...ports: NetworkPolicyPort[]) => [{ ports }];
const deny = (...policyTypes: ('Ingress' | 'Egress')[]) => ({ policyTypes });
const egress = (rules: Spec['egress']) => ({ policyTypes: ['Egress' as const], egress: rules });
const to = (...peers: NetworkPolicyPeer[]) => egress([{ to: peers }]);

const all: Expected = () => true;
const isIn = (pod: string, ...namespaces: string[]) => namespaces.includes(namespaceOf(pod));
/** Only x/a's ingress is judged, and only these reach it. */
const toXA =
  (reaches: (from: string) => boolean): Expected =>
  (a, b) =>
    b !== 'x/a' || reaches(a);
const fromXA =
  (reached: (to: string) => boolean): Expected =>
  (a, b) =>
    a !== 'x/a' || reached(b);
const nobody = () => false;
const notToX: Expected = (_, b) => !isIn(b, 'x');
const notFromX: Expected = (a) => !isIn(a, 'x');

const tcp = (expected: Expected, ...ports: number[]): Probe => ({ protocol: 'TCP', ports, expected });
const on = (protocol: Probe['protocol'], port: number, expected: Expected): Probe => ({
  protocol,
  ports: [port],
  expected,
});

const step = (probes: readonly Probe[], ...policies: NetworkPolicy[]): Step => ({ policies: () => policies, probes });
/** One policy in namespace x, and what TCP port 80 shows. */
const simple = (name: string, spec: Spec, expected: Expected, port = 80): UpstreamCase => ({
  name,
  steps: [step([tcp(expected, port)], policy('x', 'one', spec))],
});

const large = (ip: string): string => `${Number(ip.split('.')[0]) & 0xf0}.0.0.0/4`;
const block = (cidr: string, ...except: string[]): NetworkPolicyPeer => ({
  ipBlock: { cidr, ...(except.length > 0 && { except }) },
});

/** The three cases that the suite has for UDP and for SCTP as well. */
const ofProtocol = (protocol: 'UDP' | 'SCTP'): UpstreamCase[] => [
  {
    name: `${protocol}: should support a 'default-deny-ingress' policy`,
    steps: [step([on(protocol, 80, notToX)], policy('x', 'deny-all', { ...EVERY, ...deny('Ingress') }))],
  },
  {
    name: `${protocol}: should enforce policy based on Ports`,
    steps: [
      step(
        [
          on(
            protocol,
            81,
            toXA((a) => isIn(a, 'y')),
          ),
        ],
        policy('x', 'allow-81', { ...A, ...fromYTo({ port: 81, protocol }) }),
      ),
    ],
  },
  {
    name: `${protocol}: should enforce policy to allow traffic only from a pod in a different namespace based on PodSelector and NamespaceSelector`,
    steps: [
      step(
        [
          on(
            protocol,
            80,
            toXA((a) => a === 'y/a'),
          ),
        ],
        policy('x', 'allow', { ...A, ...from({ ...nsY, ...A }) }),
      ),
    ],
  },
];

const ALLOW_81 = policy('x', 'allow-81', { ...A, ...fromYTo({ port: 81, protocol: 'TCP' }) });
const ALLOW_80 = policy('x', 'allow-80', { ...A, ...fromYTo({ port: 80, protocol: 'TCP' }) });
const fromY = toXA((a) => isIn(a, 'y'));

export const UPSTREAM_CASES: readonly UpstreamCase[] = [
  simple("should support a 'default-deny-ingress' policy", { ...EVERY, ...deny('Ingress') }, notToX),
  simple(
    "should support a 'default-deny-all' policy",
    { ...EVERY, ...deny('Ingress', 'Egress') },
    (a, b) => !isIn(a, 'x') && !isIn(b, 'x'),
  ),
  simple(
    'should enforce policy to allow traffic from pods within server namespace based on PodSelector',
    { ...A, ...from(podB) },
    toXA((a) => a === 'x/b'),
  ),
  {
    name: 'should enforce policy to allow ingress traffic for a target',
    steps: [
      step(
        [tcp((_, b) => !isIn(b, 'x') || b === 'x/a', 80)],
        policy('x', 'deny-all', { ...EVERY, ...deny('Ingress') }),
        policy('x', 'allow-all-to-a', { ...A, ...from({ podSelector: {}, namespaceSelector: {} }) }),
      ),
    ],
  },
  simple(
    'should enforce policy to allow ingress traffic from pods in all namespaces',
    { ...A, ...from({ namespaceSelector: { matchLabels: {} } }) },
    all,
  ),
  simple(
    'should enforce policy to allow traffic only from a different namespace, based on NamespaceSelector',
    { ...A, ...from(nsY) },
    fromY,
  ),
  simple(
    'should enforce policy based on PodSelector with MatchExpressions',
    { ...A, ...from({ podSelector: term('pod', 'In', 'b') }) },
    toXA((a) => a === 'x/b'),
  ),
  simple(
    'should enforce policy based on NamespaceSelector with MatchExpressions',
    { ...A, ...from({ namespaceSelector: term('ns', 'In', 'y') }) },
    fromY,
  ),
  simple(
    'should enforce policy based on PodSelector or NamespaceSelector',
    { ...A, ...from(notX, podB) },
    toXA((a) => !isIn(a, 'x') || a === 'x/b'),
  ),
  simple(
    'should enforce policy based on PodSelector and NamespaceSelector',
    { ...A, ...from({ ...notX, ...podB }) },
    toXA((a) => a === 'y/b' || a === 'z/b'),
  ),
  simple(
    'should enforce policy based on Multiple PodSelectors and NamespaceSelectors',
    { ...A, ...from({ ...notX, podSelector: term('pod', 'In', 'b', 'c') }) },
    toXA((a) => !isIn(a, 'x') && nameOf(a) !== 'a'),
  ),
  simple(
    'should enforce policy based on any PodSelectors',
    { ...A, ...from(podB, { podSelector: { matchLabels: { pod: 'c' } } }) },
    toXA((a) => a === 'x/b' || a === 'x/c'),
  ),
  simple(
    'should enforce policy to allow traffic only from a pod in a different namespace based on PodSelector and NamespaceSelector',
    { ...A, ...from({ ...nsY, ...A }) },
    toXA((a) => a === 'y/a'),
  ),
  { name: 'should enforce policy based on Ports', steps: [step([tcp(fromY, 81)], ALLOW_81)] },
  {
    name: 'should enforce multiple, stacked policies with overlapping podSelectors',
    steps: [
      step([tcp((a, b, port) => b !== 'x/a' || (port === 81 && isIn(a, 'y')), 80, 81)], ALLOW_81),
      step([tcp(fromY, 80, 81)], ALLOW_81, ALLOW_80),
    ],
  },
  {
    name: 'should support allow-all policy',
    steps: [step([tcp(all, 80, 81)], policy('x', 'allow-all', { ...EVERY, ingress: [{}] }))],
  },
  {
    name: 'should allow ingress access on one named port',
    steps: [
      step(
        [tcp((a, b, port) => port === 81 || notToX(a, b, port), 80, 81)],
        policy('x', 'allow-all', { ...EVERY, ingress: only({ port: 'serve-81-tcp' }) }),
      ),
    ],
  },
  {
    name: 'should allow ingress access from namespace on one named port',
    steps: [
      step(
        [tcp((a, b, port) => b !== 'x/a' || (port === 80 && isIn(a, 'y')), 80, 81)],
        policy('x', 'allow', { ...A, ...fromYTo({ port: 'serve-80-tcp', protocol: 'TCP' }) }),
      ),
    ],
  },
  {
    name: 'should allow egress access on one named port',
    steps: [
      step(
        [tcp((a, b, port) => port === 80 || notFromX(a, b, port), 80, 81)],
        policy('x', 'allow-egress', { ...EVERY, ...egress(only({ port: 'serve-80-tcp' })) }),
      ),
    ],
  },
  {
    name: 'should enforce updated policy',
    steps: [
      step([tcp(all, 81)], policy('x', 'mutates', { ...EVERY, ingress: [{}] })),
      step([tcp(notToX, 81)], policy('x', 'mutates', { ...EVERY, ...deny('Ingress') })),
    ],
  },
  {
    name: 'should allow ingress access from updated namespace',
    steps: [false, true].map(
      (updated): Step => ({
        ...step(
          [
            tcp(
              toXA((a) => updated && isIn(a, 'y')),
              80,
            ),
          ],
          policy('x', 'allow', { ...A, ...from({ namespaceSelector: { matchLabels: { ns2: 'updated' } } }) }),
        ),
        labels: updated ? { y: { ns2: 'updated' } } : {},
      }),
    ),
  },
  {
    name: 'should allow ingress access from updated pod',
    steps: [false, true].map(
      (updated): Step => ({
        ...step(
          [
            tcp(
              toXA((a) => updated && a === 'x/b'),
              80,
            ),
          ],
          policy('x', 'allow', { ...A, ...from({ podSelector: { matchLabels: { pod: 'b', pod2: 'updated' } } }) }),
        ),
        labels: updated ? { 'x/b': { pod2: 'updated' } } : {},
      }),
    ),
  },
  simple(
    'should deny ingress from pods on other namespaces',
    { ...EVERY, ...from({ podSelector: { matchLabels: {} } }) },
    (a, b) => !isIn(b, 'x') || isIn(a, 'x'),
  ),
  {
    name: 'should deny ingress access to updated pod',
    steps: [false, true].map(
      (updated): Step => ({
        ...step(
          [tcp(updated ? toXA(nobody) : all, 80)],
          policy('x', 'deny', { podSelector: { matchLabels: { target: 'isolated' } }, ...deny('Ingress') }),
        ),
        labels: updated ? { 'x/a': { target: 'isolated' } } : {},
      }),
    ),
  },
  simple('should deny egress from pods based on PodSelector', { ...A, ...deny('Egress') }, fromXA(nobody)),
  simple('should deny egress from all pods in a namespace', { ...EVERY, ...deny('Egress') }, notFromX),
  {
    name: 'should work with Ingress, Egress specified together',
    steps: [
      step(
        [tcp((a, b, port) => toXA((one) => one === 'x/b')(a, b, port) && (a !== 'x/a' || port === 80), 80, 81)],
        policy('x', 'allow', {
          ...A,
          policyTypes: ['Egress', 'Ingress'],
          ...from(podB),
          egress: only({ port: 80 }),
        }),
      ),
    ],
  },
  {
    name: 'should support denying of egress traffic on the client side (even if the server explicitly allows this traffic)',
    steps: [
      step(
        [
          tcp(
            (a, b) => (a !== 'x/a' || b === 'y/a') && ((b !== 'y/a' && b !== 'y/b') || (a === 'x/a' && b === 'y/a')),
            80,
          ),
        ],
        policy('x', 'allow-to-ns-y-pod-a', { ...A, ...to({ ...nsY, ...A }) }),
        policy('y', 'allow-from-xa-on-ya', {
          ...A,
          ...from({ namespaceSelector: { matchLabels: { ns: 'x' } }, ...A }),
        }),
        policy('y', 'allow-from-xa-on-yb', {
          podSelector: { matchLabels: { pod: 'b' } },
          ...from({ namespaceSelector: { matchLabels: { ns: 'x' } }, ...A }),
        }),
      ),
    ],
  },
  simple(
    'should enforce egress policy allowing traffic to a server in a different namespace based on PodSelector and NamespaceSelector',
    { ...A, ...to({ ...nsY, ...A }) },
    fromXA((b) => b === 'y/a'),
  ),
  {
    name: 'should enforce ingress policy allowing any port traffic to a server on a specific protocol',
    steps: [
      step(
        [tcp(all, 80), on('UDP', 80, toXA(nobody))],
        policy('x', 'allow-ingress-by-proto', { ...A, ingress: only({ protocol: 'TCP' }) }),
      ),
    ],
  },
  {
    name: 'should enforce multiple ingress policies with ingress allow-all policy taking precedence',
    steps: [
      step([tcp(notToX, 81)], policy('x', 'port-80', { ...EVERY, ingress: only({ port: 80 }) })),
      step(
        [tcp(all, 81)],
        policy('x', 'port-80', { ...EVERY, ingress: only({ port: 80 }) }),
        policy('x', 'allow-ingress', { ...EVERY, ingress: [{}] }),
      ),
    ],
  },
  {
    name: 'should enforce multiple egress policies with egress allow-all policy taking precedence',
    steps: [
      step([tcp(notFromX, 81)], policy('x', 'port-80', { ...EVERY, ...egress(only({ port: 80 })) })),
      step(
        [tcp(all, 81)],
        policy('x', 'port-80', { ...EVERY, ...egress(only({ port: 80 })) }),
        policy('x', 'allow-egress', { ...EVERY, ...egress([{}]) }),
      ),
    ],
  },
  {
    name: 'should stop enforcing policies after they are deleted',
    steps: [
      step(
        [tcp((a, b) => !isIn(a, 'x') && !isIn(b, 'x'), 80)],
        policy('x', 'deny-all', { ...EVERY, ...deny('Ingress', 'Egress') }),
      ),
      step([tcp(all, 80)]),
    ],
  },
  {
    name: 'should allow egress access to server in CIDR block',
    steps: [
      {
        policies: (ip) => [policy('x', 'cidr', { ...A, ...to(block(`${ip('y/b')}/32`)) })],
        probes: [
          tcp(
            fromXA((b) => b === 'y/b'),
            80,
          ),
        ],
      },
    ],
  },
  {
    name: 'should enforce except clause while egress access to server in CIDR block',
    steps: [
      {
        policies: (ip) => [policy('x', 'cidr', { ...A, ...to(block(large(ip('x/b')), `${ip('x/b')}/32`)) })],
        probes: [
          tcp(
            fromXA((b) => b !== 'x/b'),
            80,
          ),
        ],
      },
    ],
  },
  {
    name: 'should ensure an IP overlapping both IPBlock.CIDR and IPBlock.Except is allowed',
    steps: [
      {
        policies: (ip) => [policy('x', 'cidr', { ...A, ...to(block(large(ip('x/b')), `${ip('x/b')}/32`)) })],
        probes: [
          tcp(
            fromXA((b) => b !== 'x/b'),
            80,
          ),
        ],
      },
      {
        policies: (ip) => [policy('x', 'cidr', { ...A, ...to(block(`${ip('x/b')}/32`)) })],
        probes: [
          tcp(
            fromXA((b) => b === 'x/b'),
            80,
          ),
        ],
      },
    ],
  },
  {
    name: 'should enforce policies to check ingress and egress policies can be controlled independently based on PodSelector',
    steps: [
      step([tcp(all, 80)], policy('x', 'allow-egress', { ...A, ...egress([{}]) })),
      step(
        [tcp(toXA(nobody), 80)],
        policy('x', 'allow-egress', { ...A, ...egress([{}]) }),
        policy('x', 'deny-ingress', { ...A, ...deny('Ingress') }),
      ),
    ],
  },
  {
    name: "should not mistakenly treat 'protocol: SCTP' as 'protocol: TCP', even if the plugin doesn't support SCTP",
    steps: [
      step(
        [tcp(notToX, 81)],
        policy('x', 'deny-ingress', { ...EVERY, ...deny('Ingress') }),
        policy('x', 'only-sctp', { ...A, ingress: only({ port: 81, protocol: 'SCTP' }) }),
      ),
    ],
  },
  simple(
    "should properly isolate pods that are selected by a policy allowing SCTP, even if the plugin doesn't support SCTP",
    { ...A, ingress: only({ port: 80, protocol: 'SCTP' }) },
    toXA(nobody),
    81,
  ),
  simple(
    'should not allow access by TCP when a policy specifies only UDP',
    { ...A, ingress: only({ port: 81, protocol: 'UDP' }) },
    toXA(nobody),
    81,
  ),
  simple(
    'should enforce policy to allow traffic based on NamespaceSelector with MatchLabels using default ns label',
    { ...A, ...from({ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'y' } } }) },
    fromY,
  ),
  simple(
    'should enforce policy based on NamespaceSelector with MatchExpressions using default ns label',
    { ...A, ...to({ namespaceSelector: term('kubernetes.io/metadata.name', 'NotIn', 'y') }) },
    fromXA((b) => !isIn(b, 'y')),
  ),
  ...ofProtocol('UDP'),
  ...ofProtocol('SCTP'),
];
