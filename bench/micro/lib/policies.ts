/** A large cluster with network policies, and the agent's part in putting them in force. */
import { RuleNumbers } from '../../../native-free-dataplane/policies/rules.ts';
import type { PolicyTable } from '../../../native-free-dataplane/policies/table.ts';
import { writePolicies } from '../../../native-free-dataplane/policies/writer.ts';
import type { NetworkPolicy } from '../../../src/api/types/network-policy.ts';
import { type AddressedPod, PolicyCompiler } from '../../../src/compile/policies/compile-policies.ts';
import { parsePolicy } from '../../../src/compile/policies/parse-policy.ts';
import type { PolicyRules } from '../../../src/compile/policies/policy-rules.ts';

const NAMESPACES = 100;
const APPS = 10;
export const SECRET: Int32Array = Int32Array.of(0x1f2e3d4c, 0x5b6a7988, 0x01234567, 0x76543210);

const namespaceNamed = (i: number): string => `ns-${i % NAMESPACES}`;
export const pod = (i: number, app: string = `app-${Math.trunc(i / NAMESPACES) % APPS}`): AddressedPod => ({
  ip: `10.${244 + (i >>> 16)}.${(i >>> 8) & 255}.${i & 255}`,
  namespace: namespaceNamed(i),
  labels: { app, tier: `tier-${i % 3}` },
  ports: [{ name: 'http', protocol: 6, port: 8080 }],
});

/** Selects an app of a namespace; allows another app there, everything of another namespace, and a network. */
export function policy(i: number, port = 8080): PolicyRules {
  const app = (n: number) => ({ matchLabels: { app: `app-${n % APPS}` } });
  const which = Math.trunc(i / NAMESPACES);
  return parsePolicy({
    metadata: { name: `policy-${i}`, namespace: namespaceNamed(i) },
    spec: {
      podSelector: app(which),
      ingress: [
        { from: [{ podSelector: app(which + 1) }], ports: [{ port }, { port: 'http' }] },
        { from: [{ namespaceSelector: { matchLabels: { name: namespaceNamed(i + 1) } } }], ports: [{ port: 9090 }] },
        { from: [{ ipBlock: { cidr: `192.168.${i & 255}.0/24` } }] },
      ],
    },
  } as unknown as NetworkPolicy);
}

export interface Held {
  readonly table: PolicyTable;
  readonly compiler: PolicyCompiler;
  readonly numbers: RuleNumbers;
  readonly policies: PolicyRules[];
  readonly pods: AddressedPod[];
}

const namespaces = new Map(
  Array.from({ length: NAMESPACES }, (_, i) => [namespaceNamed(i), { name: namespaceNamed(i) }] as const),
);

export function held(table: PolicyTable, policies: number, pods: number): Held {
  return {
    table,
    compiler: new PolicyCompiler(),
    numbers: new RuleNumbers(table),
    policies: Array.from({ length: policies }, (_, i) => policy(i)),
    pods: Array.from({ length: pods }, (_, i) => pod(i + 1024)),
  };
}

export function apply({ table, compiler, numbers, policies, pods }: Held): void {
  writePolicies(table, compiler.compile({ policies, namespaces, pods, nodes: [], dnsPort: undefined }), numbers);
}
