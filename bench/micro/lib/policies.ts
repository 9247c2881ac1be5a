/** A large cluster with network policies, and the agent's part in putting them in force. */
import type { Dataplane } from '../../../native-free-dataplane/dataplane.ts';
import { nextGeneration } from '../../../native-free-dataplane/node/config.ts';
import type { PolicyTable } from '../../../native-free-dataplane/policies/table.ts';
import { PolicyWriter, writePolicies } from '../../../native-free-dataplane/policies/writer.ts';
import type { NetworkPolicy } from '../../../src/api/types/network-policy.ts';
import { compilePolicies, PolicyCompiler } from '../../../src/compile/policies/compile-policies.ts';
import type { AddressedPod } from '../../../src/compile/policies/kept-pods.ts';
import { parsePolicy } from '../../../src/compile/policies/parse-policy.ts';
import type { PolicyRules } from '../../../src/compile/policies/policy-rules.ts';

export const NAMESPACES = 100;
const APPS = 10;
export const SECRET: Int32Array = Int32Array.of(0x1f2e3d4c, 0x5b6a7988, 0x01234567, 0x76543210);

export const namespaceNamed = (i: number): string => `ns-${i % NAMESPACES}`;
export const podAddress = (i: number): string => `10.${244 + (i >>> 16)}.${(i >>> 8) & 255}.${i & 255}`;
export const podLabels = (
  i: number,
  app: string = `app-${Math.trunc(i / NAMESPACES) % APPS}`,
): Record<string, string> => ({
  app,
  tier: `tier-${i % 3}`,
});
export const pod = (i: number, app?: string): AddressedPod => ({
  ip: podAddress(i),
  namespace: namespaceNamed(i),
  labels: podLabels(i, app),
  ports: [{ name: 'http', protocol: 6, port: 8080 }],
});

/** Selects an app of a namespace; allows another app there, everything of another namespace, and a network. */
export function policyObject(i: number, port = 8080): NetworkPolicy {
  const app = (n: number) => ({ matchLabels: { app: `app-${n % APPS}` } });
  const which = Math.trunc(i / NAMESPACES);
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: `policy-${i}`, namespace: namespaceNamed(i) },
    spec: {
      podSelector: app(which),
      ingress: [
        { from: [{ podSelector: app(which + 1) }], ports: [{ port }, { port: 'http' }] },
        { from: [{ namespaceSelector: { matchLabels: { name: namespaceNamed(i + 1) } } }], ports: [{ port: 9090 }] },
        { from: [{ ipBlock: { cidr: `192.168.${i & 255}.0/24` } }] },
      ],
    },
  } as unknown as NetworkPolicy;
}

export const policy = (i: number, port?: number): PolicyRules => parsePolicy(policyObject(i, port));

const NO_NODES: readonly [] = [];

export interface Held {
  readonly table: PolicyTable;
  readonly compiler: PolicyCompiler;
  readonly writer: PolicyWriter;
  readonly policies: PolicyRules[];
  /** Replaced when one of them changes. */
  pods: readonly AddressedPod[];
}

const namespaces = new Map(
  Array.from({ length: NAMESPACES }, (_, i) => [namespaceNamed(i), { name: namespaceNamed(i) }] as const),
);

export function held(table: PolicyTable, policies: number, pods: number): Held {
  return {
    table,
    compiler: new PolicyCompiler(),
    writer: new PolicyWriter(table),
    policies: Array.from({ length: policies }, (_, i) => policy(i)),
    pods: Array.from({ length: pods }, (_, i) => pod(i + 1024)),
  };
}

export function apply({ compiler, writer, policies, pods }: Held): void {
  writer.write(compiler.compile({ policies, namespaces, pods, nodes: NO_NODES, dnsPort: undefined }));
}

interface Crowd {
  readonly own: readonly PolicyRules[];
  readonly members: readonly AddressedPod[];
  /** Other policies, and other pods. */
  readonly count: number;
  readonly pods: number;
}

/** Put policies in force among many others. */
export function putInForce({ policies, node }: Dataplane, { own, members, count, pods }: Crowd): void {
  const input = {
    policies: [...own, ...Array.from({ length: count }, (_, i) => policy(i))],
    pods: [...members, ...Array.from({ length: pods }, (_, i) => pod(i + 1024))],
    namespaces,
    nodes: NO_NODES,
    dnsPort: undefined,
  };
  writePolicies(policies, compilePolicies(input));
  nextGeneration(node);
}
