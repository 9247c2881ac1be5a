/**
 * Forwards queries for names outside the cluster to upstream name servers, and caches their responses as long as they
 * allow. Each query is sent from a socket of its own, connected to the server, with a random identifier: a forged
 * response has to guess 32 bits (RFC 5452 §4). Identical pending queries are sent once.
 */
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { type Answer, decode, encode, type Packet, RECURSION_DESIRED, TRUNCATED_RESPONSE } from 'dns-packet';
import type { NameServer } from '../net/name-server.ts';
import { type Query, Rcode, type Response, UDP_BYTES } from './message.ts';
import type { Upstream } from './resolver.ts';

const TIMEOUT_MS = 1500;
/** Attempts per server before the response is SERVFAIL. */
const ROUNDS = 2;
const MAX_CACHED = 10_000;
const MAX_TTL_SECONDS = 3600;
/** TTL of a negative response without an SOA (RFC 2308 §5). */
const NEGATIVE_TTL_SECONDS = 5;

interface Cached {
  readonly response: Response;
  readonly storedMs: number;
  readonly expiresMs: number;
}

export class Forwarder implements Upstream {
  private readonly servers: readonly NameServer[];
  private readonly nowMs: () => number;
  /** In order of last use: the first is evicted first. */
  private readonly cache = new Map<string, Cached>();
  private readonly asking = new Map<string, Promise<Response>>();

  /** @param nowMs monotonic milliseconds */
  constructor(servers: readonly NameServer[], nowMs: () => number) {
    this.servers = servers;
    this.nowMs = nowMs;
  }

  resolve(query: Query): Promise<Response> {
    const key = `${query.type} ${query.labels.join('.')}`;
    const known = this.remembered(key, query.name);
    if (known) return Promise.resolve(known);
    const waiting = this.asking.get(key);
    if (waiting) return waiting.then((response) => renamed(response, query.name));
    const asked = this.ask(query).finally(() => this.asking.delete(key));
    this.asking.set(key, asked);
    return asked.then((response) => {
      this.remember(key, response);
      return response;
    });
  }

  private remembered(key: string, name: string): Response | undefined {
    const cached = this.cache.get(key);
    if (cached === undefined) return undefined;
    this.cache.delete(key);
    const now = this.nowMs();
    if (now >= cached.expiresMs) return undefined;
    this.cache.set(key, cached);
    return renamed(aged(cached.response, Math.floor((now - cached.storedMs) / 1000)), name);
  }

  private remember(key: string, response: Response): void {
    if (response.rcode !== Rcode.NOERROR && response.rcode !== Rcode.NXDOMAIN) return;
    const seconds = timeToLive(response);
    if (seconds <= 0) return;
    const storedMs = this.nowMs();
    this.cache.set(key, { response, storedMs, expiresMs: storedMs + seconds * 1000 });
    if (this.cache.size > MAX_CACHED) {
      const [oldest] = this.cache.keys();
      if (oldest !== undefined) this.cache.delete(oldest);
    }
  }

  private async ask(query: Query): Promise<Response> {
    for (let round = 0; round < ROUNDS; round++) {
      for (const server of this.servers) {
        const answer = await this.askServer(server, query).catch(() => undefined);
        if (answer !== undefined) return answer;
      }
    }
    return {
      rcode: Rcode.SERVFAIL,
      authoritative: false,
      recursionAvailable: true,
      reason: `no answer from ${this.servers.map(({ address }) => address).join(', ')}`,
    };
  }

  private async askServer(server: NameServer, query: Query): Promise<Response | undefined> {
    const id = randomInt(65536);
    const question = { name: query.name, type: query.type, class: 'IN' } as never;
    const opt = {
      type: 'OPT',
      name: '.',
      udpPayloadSize: UDP_BYTES,
      extendedRcode: 0,
      ednsVersion: 0,
      flags: 0,
      options: [],
    } as never;
    const bytes = encode({ type: 'query', id, flags: RECURSION_DESIRED, questions: [question], additionals: [opt] });
    const matches = (packet: Packet) =>
      packet.id === id &&
      packet.type === 'response' &&
      packet.questions?.[0]?.name.toLowerCase() === query.name.toLowerCase();
    let packet = await askOverUdp(server, bytes, matches);
    if (packet && ((packet.flags ?? 0) & TRUNCATED_RESPONSE) !== 0) packet = await askOverTcp(server, bytes, matches);
    if (packet === undefined) return undefined;
    const rcode = ((packet.flags ?? 0) & 0xf) as Rcode;
    // Another server may be able to answer.
    if (rcode === Rcode.SERVFAIL || rcode === Rcode.REFUSED) return undefined;
    return {
      rcode,
      answers: packet.answers ?? [],
      authorities: packet.authorities ?? [],
      authoritative: false,
      recursionAvailable: true,
    };
  }
}

function askOverUdp(
  server: NameServer,
  query: Buffer,
  matches: (packet: Packet) => boolean,
): Promise<Packet | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    const done = (packet?: Packet) => {
      clearTimeout(timer);
      socket.removeAllListeners().on('error', () => {});
      socket.close();
      resolve(packet);
    };
    const timer = setTimeout(done, TIMEOUT_MS);
    socket.on('error', () => done());
    socket.on('message', (message) => {
      const packet = read(message);
      if (packet && matches(packet)) done(packet);
    });
    // Connected, so that only the server's datagrams are received, and an ICMP error fails the query at once.
    socket.connect(server.port, server.address, () => socket.send(query));
  });
}

function askOverTcp(
  server: NameServer,
  query: Buffer,
  matches: (packet: Packet) => boolean,
): Promise<Packet | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host: server.address, port: server.port });
    const length = Buffer.alloc(2);
    length.writeUInt16BE(query.length);
    let pending: Buffer = Buffer.alloc(0);
    const done = (packet?: Packet) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(packet);
    };
    const timer = setTimeout(done, TIMEOUT_MS);
    socket.on('error', () => done());
    socket.on('end', () => done());
    socket.on('data', (chunk) => {
      pending = Buffer.concat([pending, chunk]);
      if (pending.length < 2 || pending.length < 2 + pending.readUInt16BE(0)) return;
      const packet = read(pending.subarray(2, 2 + pending.readUInt16BE(0)));
      done(packet && matches(packet) ? packet : undefined);
    });
    socket.write(Buffer.concat([length, query]));
  });
}

function read(message: Buffer): Packet | undefined {
  try {
    return decode(message);
  } catch {
    return undefined;
  }
}

const ttlOf = (record: Answer): number => ('ttl' in record && typeof record.ttl === 'number' ? record.ttl : 0);

/** Seconds a response may be cached: its shortest TTL, or what the SOA of a negative one specifies (RFC 2308 §5). */
function timeToLive({ answers = [], authorities = [] }: Response): number {
  if (answers.length > 0) return Math.min(MAX_TTL_SECONDS, ...answers.map(ttlOf));
  const soa = authorities.find((record) => record.type === 'SOA');
  if (soa?.type !== 'SOA') return NEGATIVE_TTL_SECONDS;
  return Math.min(MAX_TTL_SECONDS, ttlOf(soa), soa.data.minimum ?? NEGATIVE_TTL_SECONDS);
}

function aged(response: Response, seconds: number): Response {
  const older = (records: readonly Answer[] = []) =>
    records.map((record) =>
      'ttl' in record ? ({ ...record, ttl: Math.max(0, ttlOf(record) - seconds) } as Answer) : record,
    );
  return { ...response, answers: older(response.answers), authorities: older(response.authorities) };
}

/** The same response with the name in the letter case of this query. */
function renamed(response: Response, name: string): Response {
  const lower = name.toLowerCase();
  const answers = (response.answers ?? []).map((record) =>
    record.name.toLowerCase() === lower ? ({ ...record, name } as Answer) : record,
  );
  return { ...response, answers };
}
