/**
 * Removes tracked connections by criteria: the frontend to which each was opened, and the endpoint it leads to.
 *
 * The agent's own thread walks the records in shared memory. Workers then miss the entries at their next look-up and
 * balance the flow again (kubernetes pkg/proxy/conntrack/cleanup.go; issues 139628, 141371, 130542, 105657 show what
 * goes wrong otherwise). IPv4 only, like services.
 */
import {
  type Conntrack,
  Rec,
  recordAt,
  recordsUsed,
  Status,
  tupleAt,
} from '../../../native-free-dataplane/conntrack/record.ts';
import { removeRecord } from '../../../native-free-dataplane/conntrack/tuple-index.ts';
import { FrontendKind } from '../../../native-free-dataplane/services/table.ts';

/** Address (last word) and port as one number, below 2^48. */
export const placeOf = (address: number, port: number): number => (address >>> 0) * 0x1_0000 + port;

/** Protocol, address and port as one number: exact, below 2^53. */
const keyOf = (protocol: number, place: number): number => protocol * 0x1_0000_0000_0000 + place;

/** Is an address, given by its last word, one on which the node has NodePorts? */
export type IsNodePortAddress = (address: number) => boolean;

/** Key of a frontend in `TrackedFlow.at`; the address of a NodePort, and of a hostPort without hostIP, is 0. */
export function frontendKey(
  protocol: number,
  frontend: { readonly kind: FrontendKind; readonly address: Int32Array; readonly port: number },
): number {
  const address = frontend.kind === FrontendKind.NODE_PORT ? 0 : (frontend.address[3] as number);
  return keyOf(protocol, placeOf(address, frontend.port));
}

/** The connection at the walk's current position; `read` moves it to another record. */
export class TrackedFlow {
  private readonly table: Conntrack;
  private readonly isNodePortAddress: IsNodePortAddress;
  private record = 0;
  private base = 0;
  protocol = 0;
  /** Has a reply been seen? */
  answered = false;
  /** Last word of the address, and the port, to which the client connected. */
  asked = 0;
  askedPort = 0;

  constructor(table: Conntrack, isNodePortAddress: IsNodePortAddress) {
    this.table = table;
    this.isNodePortAddress = isNodePortAddress;
  }

  /** @returns false if the record holds no live connection */
  read(record: number): boolean {
    const { table } = this;
    const { words, addressWords: span } = table;
    const at = recordAt(table, record);
    const meta = words[at + Rec.META] as number;
    if ((meta & (Status.CONFIRMED | Status.DEAD)) !== Status.CONFIRMED) return false;
    const original = tupleAt(table, record, 0);
    this.record = record;
    this.base = at;
    this.protocol = (meta >>> 16) & 0xff;
    this.answered = (meta & Status.SEEN_REPLY) !== 0;
    this.asked = words[original + 2 * span - 1] as number;
    this.askedPort = (words[original + 2 * span] as number) & 0xffff;
    return true;
  }

  /** The entry of `frontends` for the frontend to which the client connected: by its address, or as a port of the node. */
  at<T>(frontends: ReadonlyMap<number, T>): T | undefined {
    const { protocol, asked, askedPort } = this;
    const found = frontends.get(keyOf(protocol, placeOf(asked, askedPort)));
    if (found !== undefined) return found;
    const ofNode = frontends.get(keyOf(protocol, placeOf(0, askedPort)));
    return ofNode !== undefined && this.isNodePortAddress(asked) ? ofNode : undefined;
  }

  /** The endpoint that replies. */
  get endpoint(): number {
    const { words, addressWords: span } = this.table;
    const reply = tupleAt(this.table, this.record, 1);
    return placeOf(words[reply + span - 1] as number, (words[reply + 2 * span] as number) >>> 16);
  }

  /** Does it go to the address the client used, without translation? */
  get isUntranslated(): boolean {
    return this.endpoint === placeOf(this.asked, this.askedPort);
  }

  /** Was its destination chosen by a service? */
  get isBalanced(): boolean {
    return this.table.words[this.base + Rec.ENDPOINT] !== 0;
  }
}

/**
 * Remove the connections for which `isStale` returns true.
 * @returns how many
 */
export function removeFlows(
  table: Conntrack,
  isNodePortAddress: IsNodePortAddress,
  isStale: (flow: TrackedFlow) => boolean,
): number {
  const flow = new TrackedFlow(table, isNodePortAddress);
  const used = recordsUsed(table);
  let removed = 0;
  for (let record = 0; record < used; record++) {
    if (flow.read(record) && isStale(flow) && removeRecord(table, record)) removed++;
  }
  return removed;
}
