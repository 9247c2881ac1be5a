/** The policy table's contents, as compiled from the API's objects (src/compile/policies). */

/** What the policies come to, with addresses as four words. */
export interface PolicyContents {
  readonly pods: readonly PodRow[];
  /** Sorted by first address; the first begins at address zero. */
  readonly intervals: readonly { readonly first: Int32Array; readonly identity: number }[];
  readonly pairs: readonly PairRow[];
  readonly dns: { readonly port: number; readonly identity: number } | undefined;
}

export interface PodRow {
  readonly address: Int32Array;
  readonly identity: number;
  /** Groups; 0: not isolated. */
  readonly ingress: number;
  readonly egress: number;
}

export interface PairRow {
  readonly group: number;
  readonly identity: number;
  /** First and last trafficKey of each range, sorted and disjoint. */
  readonly ranges: readonly number[];
}
