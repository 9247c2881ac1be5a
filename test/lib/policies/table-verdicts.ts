/** A policy table in memory, and what it answers when situations are put in force one after the other. */
import { judgeByTable } from '../../../native-free-dataplane/policies/judge.ts';
import { createPolicies, policyBytes } from '../../../native-free-dataplane/policies/table.ts';
import { PolicyWriter } from '../../../native-free-dataplane/policies/writer.ts';
import { SERVICE_PROTOCOLS } from '../../../native-free-dataplane/protocols.ts';
import { addressWords } from '../../../native-free-dataplane/wire/address.ts';
import type { ClusterNetworkPolicy } from '../../../src/api/types/cluster-network-policy.ts';
import type { NetworkPolicy } from '../../../src/api/types/network-policy.ts';
import { PolicyCompiler } from '../../../src/compile/policies/compile-policies.ts';
import { policyRules } from '../../../src/compile/policies/parse-cluster-policy.ts';
import type { EvaluatedPod, Traffic } from './evaluator.ts';

/** Who denies a connection first. */
export type TableVerdict = 'allowed' | 'egress' | 'ingress';

export interface PutInForce {
  readonly namespaces: Record<string, Record<string, string>>;
  readonly pods: readonly EvaluatedPod[];
  readonly policies: readonly (NetworkPolicy | ClusterNetworkPolicy)[];
}

// Unrelated situations leave more behind in the compiler than changes of one cluster do.
const options = { halfWords: 1 << 20, secret: Int32Array.of(1, 2, 3, 4) };

export class TableVerdicts {
  private readonly table = createPolicies(new ArrayBuffer(policyBytes(options)), options);
  private readonly writer = new PolicyWriter(this.table);
  private readonly compiler = new PolicyCompiler();

  /** As a change of the situation before. */
  putInForce({ namespaces, pods, policies }: PutInForce): void {
    this.writer.write(
      this.compiler.compile({
        policies: policies.map(policyRules),
        namespaces: new Map(Object.entries(namespaces)),
        pods: pods.map((pod) => ({
          ...pod,
          ports: pod.ports.map((port) => ({ ...port, protocol: SERVICE_PROTOCOLS[port.protocol]! })),
        })),
        nodes: [],
        dnsPort: undefined,
      }),
    );
  }

  answer({ from, to, protocol, port }: Traffic): TableVerdict {
    const connection = {
      source: addressWords(from),
      target: addressWords(to),
      protocol: SERVICE_PROTOCOLS[protocol]!,
      port,
    };
    const { verdict } = judgeByTable(this.table, connection);
    return verdict === 'allowed' ? 'allowed' : verdict === 'policy-egress' ? 'egress' : 'ingress';
  }
}
