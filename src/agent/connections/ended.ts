/**
 * Which connections end when a service port changes (S16 and S17 of docs/semantics.md; kubernetes #139628, #141371).
 * Pure: flush.ts ends them, and stale-flows.ts covers changes that happened while no agent ran.
 */
import type { FrontendContents } from '../../../native-free-dataplane/services/contents.ts';
import { FrontendKind } from '../../../native-free-dataplane/services/table.ts';
import { addressWords } from '../../../native-free-dataplane/wire/address.ts';

/** The state of a service port as it was last applied. */
export interface ServicePortState {
  readonly name: string;
  readonly protocol: number;
  readonly frontends: readonly FrontendContents[];
  /** Keys (address:port) of the endpoints whose connections may continue. */
  readonly serving: readonly string[];
}

/** An endpoint to which a service port's addresses no longer lead: its UDP connections must not continue. */
export interface RemovedEndpoint {
  readonly servicePort: Pick<ServicePortState, 'protocol' | 'frontends'>;
  /** Four words, IPv4 mapped. With port 0: connections to the addresses that were never translated. */
  readonly address: Int32Array;
  readonly port: number;
}

/** Matches every address: connections that were never translated. */
const ANY = new Int32Array(4);

/** Connections that end when service port `old` becomes `now`; either is undefined if it does not exist. */
export function endedByChange(old: ServicePortState | undefined, now: ServicePortState | undefined): RemovedEndpoint[] {
  return [...(old ? gone(old, now) : []), ...(now ? neverTranslated(old, now) : [])];
}

/** Connections to endpoints that no longer serve, and all that used an address the service no longer has. */
function gone(old: ServicePortState, now: ServicePortState | undefined): RemovedEndpoint[] {
  const removed: RemovedEndpoint[] = [];
  const serving = new Set(now?.serving);
  const kept = new Set(now?.frontends.map(frontendKey));
  const lost = old.frontends.filter((frontend) => !kept.has(frontendKey(frontend)));
  for (const key of old.serving) {
    const frontends = serving.has(key) ? lost : old.frontends;
    if (frontends.length > 0) removed.push({ servicePort: { protocol: old.protocol, frontends }, ...endpointOf(key) });
  }
  return removed;
}

/**
 * Connections that started before the address belonged to a service, or before the service had endpoints: they would
 * continue untranslated (kubernetes #105657).
 */
function neverTranslated(old: ServicePortState | undefined, now: ServicePortState): RemovedEndpoint[] {
  if (now.serving.length === 0) return [];
  const had = new Set(old && old.serving.length > 0 ? old.frontends.map(frontendKey) : []);
  const frontends = now.frontends.filter((frontend) => !had.has(frontendKey(frontend)));
  return frontends.length === 0 ? [] : [{ servicePort: { protocol: now.protocol, frontends }, address: ANY, port: 0 }];
}

const frontendKey = ({ kind, address, port }: FrontendContents): string =>
  kind === FrontendKind.NODE_PORT ? `node:${port}` : `${address.join()}:${port}`;

function endpointOf(key: string): { address: Int32Array; port: number } {
  const colon = key.lastIndexOf(':');
  return { address: addressWords(key.slice(0, colon)), port: Number(key.slice(colon + 1)) };
}
