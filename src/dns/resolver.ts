/**
 * Resolves a query: from the cluster's zone, the PTR names of its addresses, or upstream for everything else. Without
 * an upstream server, every other name gets NXDOMAIN at once: after REFUSED or SERVFAIL some resolvers (musl's) wait
 * for their timeout, and the program appears to hang.
 */
import type { Answer } from 'dns-packet';
import type { ClusterZone, ZoneRecord } from './cluster-zone.ts';
import { type Query, Rcode, type Response } from './message.ts';

/** TTL of records from the cluster's zone, also for negative responses (CoreDNS: 5). */
const TTL = 5;
/** Aliases followed within the zone. */
const MAX_ALIASES = 8;
const NO_UPSTREAM = 'not a name of this cluster, and there is no upstream name server';

/** Resolves names outside the cluster. */
export interface Upstream {
  resolve(query: Query): Promise<Response>;
}

export interface ResolverOptions {
  readonly zone: ClusterZone;
  readonly upstream?: Upstream | undefined;
  /** Is an address (as text) one of this cluster, so that its name is ours to resolve? */
  readonly isOwnAddress: (address: string) => boolean;
}

export class Resolver {
  private readonly options: ResolverOptions;
  /** Seconds since 1970: a secondary that compares serials would see a change. */
  private readonly serial = Math.floor(Date.now() / 1000);
  private turn = 0;

  constructor(options: ResolverOptions) {
    this.options = options;
  }

  /** Changes whenever a response from local data may have changed. */
  get version(): number {
    return this.options.zone.version;
  }

  /** A response from local data, or a promise of one from upstream. */
  resolve(query: Query): Response | Promise<Response> {
    if (query.class !== 'IN') return this.own(Rcode.REFUSED);
    if (query.type === 'AXFR' || query.type === 'IXFR') return this.own(Rcode.REFUSED);
    const { zone } = this.options;
    if (zone.contains(query.labels)) return this.fromZone(query);
    const address = reverseAddress(query.labels);
    if (address !== undefined && this.options.isOwnAddress(address)) return this.fromReverse(query, address);
    return this.elsewhere(query);
  }

  /**
   * Where a name does not exist, if local data alone decides that: all its responses are the same but for the question.
   * @param labels in lower case
   */
  placeOfDenial(labels: readonly string[]): 'zone' | 'elsewhere' | undefined {
    const { zone, upstream } = this.options;
    if (zone.contains(labels)) return zone.find(labels) === undefined ? 'zone' : undefined;
    return upstream === undefined && reverseAddress(labels) === undefined ? 'elsewhere' : undefined;
  }

  private elsewhere(query: Query): Response | Promise<Response> {
    const { upstream } = this.options;
    if (upstream) return upstream.resolve(query);
    return { ...this.own(Rcode.NXDOMAIN), authoritative: false, reason: NO_UPSTREAM };
  }

  private fromZone(query: Query): Response | Promise<Response> {
    const { zone } = this.options;
    if (query.labels.length === zone.domain.split('.').length) return this.apex(query);
    const records = zone.find(query.labels);
    if (records === undefined) return this.negative(Rcode.NXDOMAIN);
    // A response to ANY need not be complete (RFC 8482 §4.2).
    if (query.type === 'ANY') {
      return this.positive([{ type: 'HINFO', name: query.name, ttl: TTL, data: { cpu: 'RFC8482', os: '' } }]);
    }
    const alias = records.find((record) => record.type === 'CNAME');
    if (alias?.type === 'CNAME' && query.type !== 'CNAME') return this.followAlias(query, alias.name);
    const matching = records.filter(({ type }) => type === query.type);
    if (matching.length === 0) return this.negative(Rcode.NOERROR);
    const rotated = this.rotate(matching);
    return this.positive(
      rotated.map((record) => toAnswer(query.name, record)),
      rotated.flatMap(additionalsOf),
    );
  }

  /** The CNAME and, if it can be resolved, its target (RFC 1034 §3.6.2). */
  private async followAlias(query: Query, target: string): Promise<Response> {
    const answers: Answer[] = [];
    let name = query.name;
    let next: string | undefined = target;
    for (let step = 0; next !== undefined && step < MAX_ALIASES; step++) {
      answers.push({ type: 'CNAME', name, ttl: TTL, data: next });
      const labels: readonly string[] = next.toLowerCase().split('.');
      name = next;
      next = undefined;
      if (this.options.zone.contains(labels)) {
        const records = this.options.zone.find(labels) ?? [];
        const alias = records.find((record) => record.type === 'CNAME');
        if (alias?.type === 'CNAME') next = alias.name;
        else for (const record of records) if (record.type === query.type) answers.push(toAnswer(name, record));
      } else if (this.options.upstream) {
        const found = await this.options.upstream.resolve({ ...query, name, labels });
        answers.push(...(found.answers ?? []));
      }
    }
    return this.positive(answers);
  }

  private fromReverse(query: Query, address: string): Response {
    const records = this.options.zone.findAddress(address);
    if (records === undefined) return this.negative(Rcode.NXDOMAIN);
    if (query.type !== 'PTR') return this.negative(Rcode.NOERROR);
    return this.positive(records.map((record) => toAnswer(query.name, record)));
  }

  /** Records of the zone's own name. */
  private apex(query: Query): Response {
    const { domain } = this.options.zone;
    if (query.type === 'SOA') return this.positive([{ ...this.soa(), name: query.name }]);
    if (query.type === 'NS')
      return this.positive([{ type: 'NS', name: query.name, ttl: TTL, data: `ns.dns.${domain}` }]);
    return this.negative(Rcode.NOERROR);
  }

  private soa(): Answer {
    const { domain } = this.options.zone;
    return {
      type: 'SOA',
      name: domain,
      ttl: TTL,
      data: {
        mname: `ns.dns.${domain}`,
        rname: `hostmaster.${domain}`,
        serial: this.serial,
        refresh: 7200,
        retry: 1800,
        expire: 86400,
        minimum: TTL,
      },
    };
  }

  private own(rcode: Rcode): Response {
    return { rcode, authoritative: true, recursionAvailable: true };
  }

  private positive(answers: readonly Answer[], additionals: readonly Answer[] = []): Response {
    return { ...this.own(Rcode.NOERROR), answers, additionals };
  }

  /** The name, or the type, does not exist; the SOA says how long that may be cached (RFC 2308 §3). */
  private negative(rcode: Rcode): Response {
    return { ...this.own(rcode), authorities: [this.soa()] };
  }

  /** Rotate the records: most clients use the first. */
  private rotate<T>(records: readonly T[]): readonly T[] {
    if (records.length < 2) return records;
    this.turn = (this.turn + 1) >>> 0;
    const first = this.turn % records.length;
    return [...records.slice(first), ...records.slice(0, first)];
  }
}

function toAnswer(name: string, record: ZoneRecord): Answer {
  switch (record.type) {
    case 'A':
    case 'AAAA':
      return { type: record.type, name, ttl: TTL, data: record.address };
    case 'SRV':
      return {
        type: 'SRV',
        name,
        ttl: TTL,
        data: { priority: 0, weight: 100, port: record.port, target: record.target },
      };
    case 'TXT':
      return { type: 'TXT', name, ttl: TTL, data: [record.text] };
    default:
      return { type: record.type, name, ttl: TTL, data: record.name };
  }
}

/** The addresses of an SRV record's target, which the client would query next. */
function additionalsOf(record: ZoneRecord): readonly Answer[] {
  if (record.type !== 'SRV') return [];
  return record.addresses.map((address) => ({
    type: address.includes(':') ? ('AAAA' as const) : ('A' as const),
    name: record.target,
    ttl: TTL,
    data: address,
  }));
}

/** The IPv4 address of a name under in-addr.arpa. */
function reverseAddress(labels: readonly string[]): string | undefined {
  if (labels.length !== 6 || labels[4] !== 'in-addr' || labels[5] !== 'arpa') return undefined;
  const octets = labels.slice(0, 4).reverse();
  return octets.every((text) => /^(0|[1-9]\d{0,2})$/.test(text) && Number(text) < 256) ? octets.join('.') : undefined;
}
