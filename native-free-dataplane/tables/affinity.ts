/**
 * Session affinity: (client, service port) → endpoint, for so many seconds after the last new connection.
 *
 * Shared by all workers without locks: slots are found by a keyed hash, at most eight probes, the oldest of the eight
 * gives way when all are taken. What is read is only a wish: the endpoint is looked for in the service's present block
 * before it is used, so a torn or stale slot can at worst forget a client.
 */
import { hashWord } from './hash.ts';
import { AFFINITY_WORDS, type ServiceTable } from './services.ts';

const PROBES = 8;
const SERVICE_PORT = 4;
const ENDPOINT = 5;
const EXPIRES = 6;

function firstSlot(table: ServiceTable, client: Int32Array, servicePort: number): number {
  const { hash } = table;
  return (
    hashWord(hash, 5, client[0]) ^ hashWord(hash, 6, client[1]) ^ hashWord(hash, 7, client[2]) ^ hashWord(hash, 8, client[3]) ^ hashWord(hash, 9, servicePort)
  );
}

function sameClient(table: ServiceTable, at: number, client: Int32Array, servicePort: number): boolean {
  const { affinity } = table;
  return (
    affinity[at + SERVICE_PORT] === servicePort &&
    affinity[at + 3] === client[3] &&
    affinity[at + 2] === client[2] &&
    affinity[at + 1] === client[1] &&
    affinity[at] === client[0]
  );
}

/** Endpoint id the client was sent to last, 0 when that is too long ago or never was. */
export function affinityEndpoint(table: ServiceTable, client: Int32Array, servicePort: number, nowMs: number): number {
  const { affinity, affinityMask } = table;
  for (let probe = 0, slot = firstSlot(table, client, servicePort); probe < PROBES; probe++, slot++) {
    const at = (slot & affinityMask) * AFFINITY_WORDS;
    if (sameClient(table, at, client, servicePort)) {
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
  let best = -1;
  let bestLeft = 0x7fffffff;
  for (let probe = 0, slot = firstSlot(table, client, servicePort); probe < PROBES; probe++, slot++) {
    const at = (slot & affinityMask) * AFFINITY_WORDS;
    if (sameClient(table, at, client, servicePort)) {
      best = at;
      break;
    }
    const left = affinity[at + SERVICE_PORT] === 0 ? -1 : (affinity[at + EXPIRES] - (nowMs | 0)) | 0;
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
  affinity[best + EXPIRES] = (nowMs + seconds * 1000) | 0;
}
