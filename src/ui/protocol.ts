/** What the server of `dataplane ui` and its page exchange, as JSON. The playground computes the same in the browser. */

export interface NodeView {
  readonly name: string;
  readonly ip: string;
  readonly podCIDR: string;
  readonly ready: boolean;
}

/** What a node forwards now. */
export interface NodeLoadView {
  readonly name: string;
  readonly framesPerSecond: number;
  readonly bytesPerSecond: number;
  readonly dropsPerSecond: number;
  readonly connections: number;
}

export interface PodView {
  /** `pod:NAMESPACE/NAME` */
  readonly id: string;
  readonly namespace: string;
  readonly name: string;
  /** Empty if it is on no node yet. */
  readonly node: string;
  /** Empty if it has none yet. */
  readonly ip: string;
  readonly phase: string;
  readonly ready: boolean;
  readonly labels: Readonly<Record<string, string>>;
  /** Ports that its containers declare, such as `80/TCP`. */
  readonly ports: readonly string[];
}

export interface ServicePortView {
  readonly name: string;
  readonly port: number;
  readonly protocol: string;
  readonly target: string;
  /** 0: none */
  readonly nodePort: number;
}

export interface ServiceView {
  /** `svc:NAMESPACE/NAME` */
  readonly id: string;
  readonly namespace: string;
  readonly name: string;
  readonly type: string;
  /** Empty for a headless Service. */
  readonly ip: string;
  readonly ports: readonly ServicePortView[];
  /** Identifiers of the pods that are ready endpoints. */
  readonly endpoints: readonly string[];
  /** Ready endpoints, pods or not. */
  readonly ready: number;
}

export interface Topology {
  readonly nodes: readonly NodeView[];
  readonly pods: readonly PodView[];
  readonly services: readonly ServiceView[];
  /** NetworkPolicies, as NAMESPACE/NAME. */
  readonly policies: readonly string[];
}

/** Identifier of everything outside the cluster. */
export const OUTSIDE = 'outside';

/** Connections from one end to another: of one protocol and destination port, through one Service or none. */
export interface EdgeView {
  readonly id: string;
  readonly from: string;
  readonly to: string;
  /** Identifier of the Service that the client asked for; empty: none */
  readonly service: string;
  readonly protocol: string;
  /** 0 for protocols without ports. */
  readonly port: number;
  readonly openedPerSecond: number;
  readonly dropsPerSecond: number;
  readonly bytesPerSecond: number;
  /** Since the page's server was started. */
  readonly opened: number;
  readonly dropped: number;
  /** Our name of the last drop's reason; empty if nothing was dropped. */
  readonly lastDrop: string;
  /** A packet of it, for its walk. */
  readonly sample: WalkRequest;
}

/** A packet to trace. */
export interface WalkRequest {
  /** An address, or `node/NAME` for a program of a node. */
  readonly from: string;
  /** An address. */
  readonly to: string;
  /** Such as tcp. */
  readonly protocol: string;
  /** 0 for protocols without ports. */
  readonly port: number;
  readonly srcPort?: number;
  /** Letters as in `dataplane trace --tcp-flags`. */
  readonly flags?: string;
  readonly ttl?: number;
  readonly length?: number;
}

export interface FlowRow {
  /** Counts up. */
  readonly number: number;
  readonly time: string;
  readonly node: string;
  /** As `dataplane observe` prints them. */
  readonly source: string;
  readonly destination: string;
  readonly type: string;
  readonly verdict: string;
  readonly summary: string;
  readonly dropped: boolean;
  /** Undefined if the flow has no addresses. */
  readonly walk: WalkRequest | undefined;
  readonly edge: string;
}

/** A message of the stream. What is left out has not changed. */
export interface Update {
  readonly topology?: Topology;
  readonly loads?: readonly NodeLoadView[];
  /** Edges that changed. With `whole`: all of them. */
  readonly edges?: readonly EdgeView[];
  readonly whole?: boolean;
  /** Flows that pass the reader's filter, oldest first. */
  readonly flows?: readonly FlowRow[];
  /** Flows that pass the filter and are left out, because they came too fast. */
  readonly skipped?: number;
  /** Events that were overwritten before they were read. */
  readonly lost?: number;
  /** What is wrong with the data; empty: nothing. */
  readonly notice?: string;
}

/** A step of a walk. */
export interface WalkStep {
  readonly stage: string;
  readonly source: string;
  readonly table: string;
  readonly text: readonly string[];
  readonly changes: readonly { readonly field: string; readonly before: string; readonly after: string }[];
  /** Frames in hexadecimal; empty if the step changed nothing. */
  readonly before: string;
  readonly after: string;
  /** Empty if the packet continues. */
  readonly verdict: string;
}

/** What happened on one node. */
export interface WalkNode {
  readonly node: string;
  readonly reply: boolean;
  readonly packet: string;
  /** The frame that the node received, in hexadecimal. */
  readonly frame: string;
  readonly steps: readonly WalkStep[];
  readonly verdict: string;
  /** The sentence of docs/drops.md. */
  readonly sentence: string;
  readonly failed: boolean;
  readonly wouldDiffer: readonly string[];
}

export interface WalkView {
  readonly from: string;
  /** Empty if the packet was not delivered. */
  readonly to: string;
  /** Where the reply arrived; empty if there is none. */
  readonly answered: string;
  readonly nodes: readonly WalkNode[];
  readonly notes: readonly string[];
}

/** A tracked connection that a manifest would change. */
export interface WhatIfChange {
  readonly from: string;
  readonly to: string;
  readonly protocol: string;
  readonly port: number;
  readonly effect: 'denied' | 'allowed' | 'no-endpoint' | 'other-endpoint' | 'unreachable';
  readonly why: string;
}

export interface WhatIfAnswer {
  readonly checked: number;
  readonly changes: readonly WhatIfChange[];
  /** The objects that were read, such as `NetworkPolicy default/web`. */
  readonly objects: readonly string[];
}
