/**
 * Session affinity: (client, service port) → endpoint, until a number of seconds after the client's last new
 * connection.
 *
 * Shared by all workers without locks. Slots are found by a keyed hash, at most eight probes; if all are taken, the one
 * that expires first is replaced. The last word of a slot is a check word over the others: a slot that two workers
 * write at once, or that is being written, fails its check and counts as empty. An entry is only a preference: the
 * endpoint is looked up in the service's current block before it is used.
 *
 * Losing an entry costs little, because the first endpoint a client gets is not random (affinityHash): all workers
 * choose the same one for it, even when two of its connections start at the same moment.
 */
import { hashWord } from '../shared/hash.ts';
import { maglevHash } from './maglev.ts';
import { AFFINITY_WORDS, type ServiceTable } from './table.ts';

const PROBES = 8;
/** Words of a slot after the client's address. */
const SERVICE_PORT = 4;
const ENDPOINT = 5;
/** Monotonic milliseconds, wrapping int32; an API maximum of 86,400 s is far from a wrap. */
const EXPIRES = 6;
const CHECK = 7;

function firstSlot(table: ServiceTable, client: Int32Array, servicePort: number): number {
  const { hash } = table;
  return (
    hashWord(hash, 5, client[0]) ^
    hashWord(hash, 6, client[1]) ^
    hashWord(hash, 7, client[2]) ^
    hashWord(hash, 8, client[3]) ^
    hashWord(hash, 9, servicePort)
  );
}

function checkWord(start: number, endpoint: number, expires: number): number {
  return Math.imul(Math.imul(start ^ endpoint, 0x85ebca6b) ^ expires, 0xc2b2ae35) | 1;
}

/** Does this slot hold the client's entry, with a valid check word? */
function isOf(table: ServiceTable, at: number, client: Int32Array, servicePort: number, start: number): boolean {
  const { affinity } = table;
  return (
    affinity[at + SERVICE_PORT] === servicePort &&
    affinity[at + 3] === client[3] &&
    affinity[at + 2] === client[2] &&
    affinity[at + 1] === client[1] &&
    affinity[at] === client[0] &&
    affinity[at + CHECK] === checkWord(start, affinity[at + ENDPOINT], affinity[at + EXPIRES])
  );
}

/** Endpoint id the client was last sent to; 0 if there is none or it has expired. */
export function affinityEndpoint(table: ServiceTable, client: Int32Array, servicePort: number, nowMs: number): number {
  const { affinity, affinityMask } = table;
  const start = firstSlot(table, client, servicePort);
  for (let probe = 0; probe < PROBES; probe++) {
    const at = ((start + probe) & affinityMask) * AFFINITY_WORDS;
    if (isOf(table, at, client, servicePort, start)) {
      return ((affinity[at + EXPIRES] - (nowMs | 0)) | 0) > 0 ? affinity[at + ENDPOINT] : 0;
    }
  }
  return 0;
}

/** Store or renew the client's endpoint for `seconds`. */
export function rememberAffinity(
  table: ServiceTable,
  client: Int32Array,
  servicePort: number,
  endpoint: number,
  nowMs: number,
  seconds: number,
): void {
  const { affinity, affinityMask } = table;
  const start = firstSlot(table, client, servicePort);
  const expires = (nowMs + seconds * 1000) | 0;
  let best = 0;
  let bestLeft = 0x7fffffff;
  for (let probe = 0; probe < PROBES; probe++) {
    const at = ((start + probe) & affinityMask) * AFFINITY_WORDS;
    if (isOf(table, at, client, servicePort, start)) {
      best = at;
      break;
    }
    const left = affinity[at + CHECK] === 0 ? -1 : Math.max(0, (affinity[at + EXPIRES] - (nowMs | 0)) | 0);
    if (left < bestLeft) {
      bestLeft = left;
      best = at;
    }
  }
  affinity[best] = client[0];
  affinity[best + 1] = client[1];
  affinity[best + 2] = client[2];
  affinity[best + 3] = client[3];
  affinity[best + SERVICE_PORT] = servicePort;
  affinity[best + ENDPOINT] = endpoint;
  affinity[best + EXPIRES] = expires;
  affinity[best + CHECK] = checkWord(start, endpoint, expires);
}

/** An affinity entry, for display. */
export interface AffinityView {
  /** Four words, IPv4 mapped. */
  readonly client: Int32Array;
  /** Endpoint id. */
  readonly endpoint: number;
  readonly leftMs: number;
}

/** Affinity entries of a service port. Reads the whole table: never called on the path. */
export function viewAffinity(table: ServiceTable, servicePort: number, nowMs: number): AffinityView[] {
  const { affinity } = table;
  const views: AffinityView[] = [];
  for (let at = 0; at < affinity.length; at += AFFINITY_WORDS) {
    if (affinity[at + SERVICE_PORT] !== servicePort) continue;
    const client = affinity.slice(at, at + 4);
    const leftMs = (affinity[at + EXPIRES] - (nowMs | 0)) | 0;
    if (leftMs <= 0 || !isOf(table, at, client, servicePort, firstSlot(table, client, servicePort))) continue;
    views.push({ client, endpoint: affinity[at + ENDPOINT], leftMs });
  }
  return views;
}

/**
 * Hash that chooses the endpoint of a client without an affinity entry. It is constant for one timeout, so that workers
 * agree without communicating, and changes with the next, so that a client that was away may get another endpoint
 * (kubernetes e2e "should have session affinity timeout work").
 * @returns uint32
 */
export function affinityHash(client: Int32Array, servicePort: number, nowMs: number, seconds: number): number {
  return maglevHash(client, 0, 0, servicePort ^ Math.imul(Math.floor(nowMs / (seconds * 1000)), 0x9e3779b1));
}

/**
 * Copy the entries of another table: an agent that restarts creates a new table, and clients keep their endpoints. Ids
 * of service ports and endpoints are the same in both (writer.ts); if one is not, the client is balanced again.
 * @returns entries copied
 */
export function adoptAffinity(table: ServiceTable, previous: ServiceTable, nowMs: number): number {
  const { affinity } = previous;
  const client = new Int32Array(4);
  let adopted = 0;
  for (let at = 0; at < affinity.length; at += AFFINITY_WORDS) {
    if (affinity[at + CHECK] === 0) continue;
    for (let i = 0; i < 4; i++) client[i] = affinity[at + i];
    const servicePort = affinity[at + SERVICE_PORT];
    const left = (affinity[at + EXPIRES] - (nowMs | 0)) | 0;
    if (left <= 0 || !isOf(previous, at, client, servicePort, firstSlot(previous, client, servicePort))) continue;
    rememberAffinity(table, client, servicePort, affinity[at + ENDPOINT], nowMs, left / 1000);
    adopted++;
  }
  return adopted;
}
