/** A service port as the agent describes it, before it is written to the table. */
import type { FrontendKind } from './table.ts';

/** An endpoint of a service port. */
export interface EndpointContents {
  /** Four words, IPv4 mapped. */
  readonly address: Int32Array;
  readonly port: number;
  /**
   * Name of the endpoint within its service port, the same on every node: its id, counters and Maglev position derive
   * from it.
   */
  readonly key: string;
}

/** An address and port under which a service port is reached. */
export interface FrontendContents {
  readonly kind: FrontendKind;
  /** Four words; not used for a NodePort; ANY_ADDRESS for a hostPort at all addresses of the node. */
  readonly address: Int32Array;
  readonly port: number;
}

/** One port of one service, complete. */
export interface ServicePortContents {
  /** Stable name, e.g. default/mc3:http/TCP. */
  readonly name: string;
  readonly protocol: number;
  readonly frontends: readonly FrontendContents[];
  /** Endpoints under the Cluster policy, and those under a Local policy. */
  readonly cluster: readonly EndpointContents[];
  readonly local: readonly EndpointContents[];
  /** Seconds a client keeps its endpoint after its last new connection; 0 = no affinity. */
  readonly affinitySeconds: number;
  readonly internalLocal: boolean;
  readonly externalLocal: boolean;
  /** Some endpoint serves, on any node. */
  readonly hasEndpoints: boolean;
  readonly maglev: boolean;
  /**
   * Networks of loadBalancerSourceRanges: four words and a prefix of 128 each. Empty: all clients, unless `restricted`.
   */
  readonly sourceRanges: readonly { readonly words: Int32Array; readonly prefix: number }[];
  /** Source ranges were specified, but none can match here: no client is admitted. */
  readonly restricted?: boolean;
}
