/**
 * Which endpoints of a service port a node uses. Every choice that depends on the endpoint and the node is made here,
 * when something changes, so that a packet only picks from a set.
 *
 * Read before editing: kubernetes pkg/proxy/topology.go CategorizeEndpoints and topologyModeFromHints,
 * endpointslicecache.go (ports without a number are ignored, only an endpoint's first address counts), KEP-1669
 * (terminating endpoints).
 */
import type { EndpointContents } from '../../native-free-dataplane/services/contents.ts';
import type { EndpointSlice, ServicePort, SliceEndpoint } from '../api/types/objects.ts';
import { ipWords, parseIp } from '../net/address.ts';
import { whyNotEndpoint } from '../net/reserved.ts';

/** The node for which services are compiled. */
export interface Place {
  readonly nodeName: string;
  readonly zone?: string | undefined;
}

export interface EndpointSets {
  readonly cluster: EndpointContents[];
  readonly local: EndpointContents[];
  /** Some endpoint, ready or serving while it terminates, exists on any node. */
  readonly hasEndpoints: boolean;
  /** Keys of the endpoints whose connections may continue: those that serve, chosen or not. */
  readonly serving: string[];
}

interface Candidate {
  readonly contents: EndpointContents;
  readonly source: SliceEndpoint;
}

/** Absent conditions mean: ready; serving as ready; not terminating (discovery/v1 EndpointConditions). */
const isReady = ({ source }: Candidate): boolean => source.conditions?.ready ?? true;
const isServing = ({ source }: Candidate): boolean => source.conditions?.serving ?? source.conditions?.ready ?? true;
/** Terminating, but still serving: used if no endpoint is ready. */
const isDraining = (candidate: Candidate): boolean =>
  !isReady(candidate) && isServing(candidate) && candidate.source.conditions?.terminating === true;

/**
 * The endpoint sets of one service port.
 * @param refuse called with every address that must not be an endpoint, and the reason
 */
export function endpointSets(
  port: ServicePort,
  slices: readonly EndpointSlice[],
  place: Place,
  refuse: (what: string) => void,
): EndpointSets {
  const all = candidates(port, slices, refuse);
  const ready = all.filter(isReady);
  const draining = all.filter(isDraining);
  const isLocal = ({ source }: Candidate): boolean => source.nodeName === place.nodeName;
  const readyHere = ready.filter(isLocal);
  return {
    cluster: contentsOf(ready.length > 0 ? nearest(ready, place) : draining),
    local: contentsOf(readyHere.length > 0 ? readyHere : draining.filter(isLocal)),
    hasEndpoints: ready.length + draining.length > 0,
    serving: all.filter((one) => isReady(one) || isServing(one)).map(({ contents }) => contents.key),
  };
}

/**
 * Ready endpoints of a service on a node: healthCheckNodePort returns 200 if there is one (S13 of docs/semantics.md).
 */
export function readyEndpointsOn(slices: readonly EndpointSlice[], nodeName: string): number {
  const addresses = new Set<string>();
  for (const slice of slices) {
    for (const endpoint of slice.endpoints) {
      const [address] = endpoint.addresses;
      if (address && endpoint.nodeName === nodeName && (endpoint.conditions?.ready ?? true)) addresses.add(address);
    }
  }
  return addresses.size;
}

const contentsOf = (chosen: readonly Candidate[]): EndpointContents[] => chosen.map(({ contents }) => contents);

/** All endpoints of a service port over its slices, ordered by key: the same on every node. */
function candidates(port: ServicePort, slices: readonly EndpointSlice[], refuse: (what: string) => void): Candidate[] {
  const found = new Map<string, Candidate>();
  for (const slice of slices) {
    if (slice.addressType !== 'IPv4') continue;
    const number = numberOf(port, slice);
    if (number === undefined) continue;
    for (const source of slice.endpoints) {
      const [text] = source.addresses;
      if (text === undefined) continue;
      const key = `${text}:${number}`;
      const known = found.get(key);
      if (known && rank(known.source) >= rank(source)) continue;
      const address = known?.contents.address ?? parseEndpoint(text, refuse);
      if (address) found.set(key, { contents: { address, port: number, key }, source });
    }
  }
  return [...found.values()].sort((one, other) => (one.contents.key < other.contents.key ? -1 : 1));
}

function numberOf(port: ServicePort, slice: EndpointSlice): number | undefined {
  const { name = '', protocol = 'TCP' } = port;
  for (const candidate of slice.ports ?? []) {
    if ((candidate.name ?? '') === name && (candidate.protocol ?? 'TCP') === protocol) return candidate.port;
  }
  return undefined;
}

/** An endpoint that moves between slices is briefly in both: the better of the two states counts. */
function rank({ conditions }: SliceEndpoint): number {
  if (conditions?.ready ?? true) return 2;
  return conditions?.serving === true ? 1 : 0;
}

/**
 * The endpoint's address; undefined if no traffic may be sent to it. Checked here too, for API servers other than ours.
 */
function parseEndpoint(text: string, refuse: (what: string) => void): Int32Array | undefined {
  const ip = parseIp(text);
  const why = ip?.family === 4 ? whyNotEndpoint(ip) : 'no IPv4 address';
  if (ip !== undefined && why === undefined) return ipWords(ip);
  refuse(`endpoint ${text}: ${why}`);
  return undefined;
}

/**
 * Endpoints with hints for this node, else for its zone, if every ready endpoint has hints and one of them is for us.
 */
function nearest(ready: Candidate[], { nodeName, zone }: Place): Candidate[] {
  const sameNode = hinted(ready, nodeName, ({ source }) => source.hints?.forNodes);
  if (sameNode.length > 0) return sameNode;
  const sameZone = zone === undefined ? [] : hinted(ready, zone, ({ source }) => source.hints?.forZones);
  return sameZone.length > 0 ? sameZone : ready;
}

function hinted(
  ready: readonly Candidate[],
  own: string,
  hintsOf: (candidate: Candidate) => readonly { name: string }[] | undefined,
): Candidate[] {
  const ours: Candidate[] = [];
  for (const candidate of ready) {
    const hints = hintsOf(candidate);
    if (hints === undefined || hints.length === 0) return [];
    if (hints.some(({ name }) => name === own)) ours.push(candidate);
  }
  return ours;
}
