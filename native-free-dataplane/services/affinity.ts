/**
 * Session affinity: (client, service port) → endpoint, for so many seconds after the last new connection.
 *
 * Shared by all workers without locks. Slots are found by a keyed hash, at most eight probes; when all are taken, the
 * one that would end first gives way. Each slot ends in a check word over the others: what two workers wrote at once,
 * or one is writing just now, does not fit its check and counts as forgotten. What is read is still only a wish: the
 * endpoint is looked for in the service's present block before it is used.
 *
 * Forgetting is cheap, because the endpoint a client gets first is no matter of chance (affinityHash): all workers
 * choose the same one for it, also when two of its connections begin in the same instant.
 */
import { hashWord } from '../shared/hash.ts';
import { maglevHash } from './maglev.ts';
import { AFFINITY_WORDS, type ServiceTable } from './table.ts';

const PROBES = 8;
/** Words of a slot behind the client's address. */
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

/** Is this the client's slot, whole? */
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

/** Endpoint id the client was sent to last, 0 when that is too long ago or never was. */
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

/** Remember (or renew) the client's endpoint for `seconds`. */
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

/** A client that is remembered, for people to see. */
export interface AffinityView {
  /** Four words, IPv4 mapped. */
  readonly client: Int32Array;
  /** Endpoint id. */
  readonly endpoint: number;
  readonly leftMs: number;
}

/** Clients a service port remembers. Reads the whole table: never called on the path. */
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
 * Which endpoint a client gets when nothing is remembered of it: a hash that stays the same for one timeout, so that
 * workers need not tell each other, and changes with the next, so that a client that was away may get another
 * (kubernetes e2e "should have session affinity timeout work").
 * @returns uint32
 */
export function affinityHash(client: Int32Array, servicePort: number, nowMs: number, seconds: number): number {
  return maglevHash(client, 0, 0, servicePort ^ Math.imul(Math.floor(nowMs / (seconds * 1000)), 0x9e3779b1));
}

/**
 * Take over what another table remembers: an agent that starts anew makes a new table, and clients stay where they
 * were. Ids of service ports and endpoints are the same in both (writer.ts); where one is not, the client is
 * balanced afresh.
 * @returns clients taken over
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
