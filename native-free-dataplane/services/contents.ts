/** What the agent says of a service port, before it becomes words. */
import type { FrontendKind } from './table.ts';

export interface EndpointContents {
  /** Four words, IPv4 mapped. */
  readonly address: Int32Array;
  readonly port: number;
  /** Name of the endpoint within its service port, the same on every node: its id, counters and Maglev place hang on it. */
  readonly key: string;
}

export interface FrontendContents {
  readonly kind: FrontendKind;
  /** Four words; not used for a NodePort. */
  readonly address: Int32Array;
  readonly port: number;
}

/** One port of one service, complete. */
export interface ServicePortContents {
  /** Stable name, e.g. default/mc3:http/TCP. */
  readonly name: string;
  readonly protocol: number;
  readonly frontends: readonly FrontendContents[];
  /** Endpoints for everyone, and those for traffic under a Local policy. */
  readonly cluster: readonly EndpointContents[];
  readonly local: readonly EndpointContents[];
  /** Seconds a client stays with its endpoint after its last new connection; 0 = no affinity. */
  readonly affinitySeconds: number;
  readonly internalLocal: boolean;
  readonly externalLocal: boolean;
  /** Some endpoint exists anywhere, serving. */
  readonly hasEndpoints: boolean;
  readonly maglev: boolean;
  /** Networks of loadBalancerSourceRanges: four words and a prefix of 128 each. Empty: everyone, unless `restricted`. */
  readonly sourceRanges: readonly { readonly words: Int32Array; readonly prefix: number }[];
  /** Source ranges were asked for, though none of them can match here: nobody is let in. */
  readonly restricted?: boolean;
}
