/** The policy table's contents, as compiled from the API's objects (src/compile/policies). */

/**
 * What the policies come to, with addresses as four words. Rows of earlier contents that did not change are the same
 * objects, at the same position if possible: a writer replaces only what differs.
 */
export interface PolicyContents {
  readonly pods: readonly PodRow[];
  /** Sorted by first address; the first begins at address zero. */
  readonly intervals: readonly { readonly first: Int32Array; readonly identity: number }[];
  readonly groups: readonly GroupRow[];
  readonly dns: { readonly port: number; readonly identity: number } | undefined;
}

export interface PodRow {
  readonly address: Int32Array;
  readonly identity: number;
  /** Groups; 0: no policy applies in this direction. */
  readonly ingress: number;
  readonly egress: number;
}

export interface GroupRow {
  readonly number: number;
  /** One for each identity; ANY_POD and ANY_ADDRESS stand for all others. More may be appended; none changes. */
  readonly pairs: readonly PairRow[];
}

export interface PairRow {
  readonly identity: number;
  readonly decisions: Decisions;
}

/** What is decided for each protocol and port: ranges that cover all traffic. Equal ones may be one object. */
export interface Decisions {
  /** First trafficKey of each range; the first is 0. */
  readonly firsts: readonly number[];
  /** The rule that decides; undefined: no policy does. */
  readonly rules: readonly (DecidingRule | undefined)[];
  /** Effect (table.ts). */
  readonly effects: readonly number[];
}

/** A rule, or the isolation that denies what no rule allows. */
export interface DecidingRule {
  /** The rule keeps its number and its counter while its key is in use. */
  readonly key: string;
  /** NAMESPACE/NAME of the policy, or NAME of a ClusterNetworkPolicy; of isolation, all that isolate the pod. */
  readonly policies: string;
  /** The rule's own name, where it has one. */
  readonly name: string;
  /** Position in the policy, from 1; 0: isolation. */
  readonly index: number;
  readonly tier: 'admin' | 'namespaced' | 'baseline';
  readonly direction: 'ingress' | 'egress';
}
