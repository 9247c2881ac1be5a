/**
 * The DNS names of a cluster, from its Services and EndpointSlices as they change: Kubernetes' DNS specification 1.1.0
 * (kubernetes/dns, docs/specification.md). Pure: objects in, records out.
 *
 *     SERVICE.NAMESPACE.svc.ZONE              A of the ClusterIP; headless: A of every ready endpoint
 *     _PORT._PROTO.SERVICE.NAMESPACE.svc.ZONE SRV, for ports that have a name
 *     HOSTNAME.SERVICE.NAMESPACE.svc.ZONE     A of one endpoint of a headless service
 *     1-2-3-4.NAMESPACE.pod.ZONE              A of that address, as CoreDNS does with `pods insecure`
 *     dns-version.ZONE                        TXT
 *
 * An endpoint without a hostname is named by its address with dashes (CoreDNS). Where the specification and CoreDNS
 * differ, this follows the specification: a headless service without a ready endpoint does not exist (§2.4.1).
 */
import type { EndpointSlice, Service, ServicePort, SlicePort } from '../api/types/objects.ts';

const SPECIFICATION = '1.1.0';

/** A record without its owner name. Addresses as text; names absolute, without the final dot. */
export type ZoneRecord =
  | { readonly type: 'A' | 'AAAA'; readonly address: string }
  | { readonly type: 'SRV'; readonly target: string; readonly port: number; readonly addresses: readonly string[] }
  | { readonly type: 'CNAME' | 'PTR'; readonly name: string }
  | { readonly type: 'TXT'; readonly text: string };

/** undefined: the name does not exist. An empty list: the name exists, but has no records, or only of other types. */
export type ZoneAnswer = readonly ZoneRecord[] | undefined;

interface Endpoint {
  readonly address: string;
  readonly family: 'A' | 'AAAA';
  readonly hostname: string;
  /** Has a hostname of its own: only these endpoints have PTR records (§2.4.1). */
  readonly named: boolean;
  readonly ports: readonly SlicePort[];
}

interface Entry {
  readonly namespace: string;
  readonly name: string;
  service: Service | undefined;
  readonly slices: Map<string, EndpointSlice>;
  /** Ready endpoints, only for a headless service. */
  endpoints: readonly Endpoint[];
  /** Addresses for which this entry has PTR records, for their removal. */
  reverse: readonly string[];
}

const SERVICE_LABEL = 'kubernetes.io/service-name';

export class ClusterZone {
  /** Changes with each change of an answer. */
  version = 0;
  /** The zone's name in lower case, such as `cluster.local`. */
  readonly domain: string;
  private readonly domainLabels: readonly string[];
  private readonly entries = new Map<string, Entry>();
  /** Number of Services in each namespace. */
  private readonly namespaces = new Map<string, number>();
  /** PTR names by address and by the entry they belong to. */
  private readonly names = new Map<string, Map<Entry, string>>();
  private readonly serverAddress: string;

  /** @param serverAddress of the cluster's DNS service, for the zone's own name server record */
  constructor(domain: string, serverAddress: string) {
    this.domain = domain.toLowerCase();
    this.domainLabels = this.domain.split('.');
    this.serverAddress = serverAddress;
  }

  setService(service: Service): void {
    const entry = this.entryOf(service.metadata.namespace, service.metadata.name);
    if (entry.service === undefined) this.countNamespace(entry.namespace, 1);
    entry.service = service;
    this.derive(entry);
  }

  removeService(service: Service): void {
    const entry = this.entryOf(service.metadata.namespace, service.metadata.name);
    if (entry.service !== undefined) this.countNamespace(entry.namespace, -1);
    entry.service = undefined;
    this.derive(entry);
    this.forgetEmpty(entry);
  }

  setSlice(slice: EndpointSlice, old?: EndpointSlice): void {
    if (old !== undefined && serviceOf(old) !== serviceOf(slice)) this.removeSlice(old);
    const service = serviceOf(slice);
    if (service === undefined) return;
    const entry = this.entryOf(slice.metadata.namespace, service);
    entry.slices.set(slice.metadata.name, slice);
    this.derive(entry);
  }

  removeSlice(slice: EndpointSlice): void {
    const service = serviceOf(slice);
    if (service === undefined) return;
    const entry = this.entryOf(slice.metadata.namespace, service);
    entry.slices.delete(slice.metadata.name);
    this.derive(entry);
    this.forgetEmpty(entry);
  }

  /** Is a name (its labels in lower case) in this zone? */
  contains(labels: readonly string[]): boolean {
    const from = labels.length - this.domainLabels.length;
    return from >= 0 && this.domainLabels.every((label, i) => labels[from + i] === label);
  }

  /** All records of a name in this zone. @param labels in lower case, including the zone's own */
  find(labels: readonly string[]): ZoneAnswer {
    const own = labels.slice(0, labels.length - this.domainLabels.length);
    const kind = own.pop();
    if (kind === undefined) return [];
    if (kind === 'svc') return this.findService(own);
    if (kind === 'pod') return this.findPod(own);
    if (kind === 'dns-version' && own.length === 0) return [{ type: 'TXT', text: SPECIFICATION }];
    // The zone's name server, to which its NS and SOA records refer.
    if (kind === 'dns')
      return own.length === 0 ? [] : own.join('.') === 'ns' ? this.addressOf(this.serverAddress) : undefined;
    return undefined;
  }

  /** PTR records of an address. @param address as text */
  findAddress(address: string): ZoneAnswer {
    const names = this.names.get(address);
    return names && [...names.values()].map((name) => ({ type: 'PTR' as const, name }));
  }

  private findService(labels: string[]): ZoneAnswer {
    const namespace = labels.pop();
    if (namespace === undefined) return [];
    if (!this.namespaces.has(namespace)) return undefined;
    const name = labels.pop();
    if (name === undefined) return [];
    const entry = this.entries.get(`${namespace}/${name}`);
    if (entry?.service === undefined) return undefined;
    const { spec } = entry.service;
    if (spec.type === 'ExternalName') {
      const target = (spec.externalName ?? '').replace(/\.$/, '');
      return labels.length === 0 ? [{ type: 'CNAME', name: target }] : undefined;
    }
    const headless = spec.clusterIP === 'None';
    // A headless service without a ready endpoint has no records at all, and so does not exist.
    if (headless && entry.endpoints.length === 0) return undefined;
    if (labels.length === 0)
      return headless ? entry.endpoints.map(addressRecord) : clusterAddresses(spec).flatMap((ip) => this.addressOf(ip));
    const last = labels.at(-1) ?? '';
    if (last.startsWith('_')) return this.findPort(entry, labels);
    if (!headless || labels.length > 1) return undefined;
    const found = entry.endpoints.filter(({ hostname }) => hostname === last);
    return found.length === 0 ? undefined : found.map(addressRecord);
  }

  /** `_port._proto`, or `_proto` alone, which has no records but exists if one of its ports has a name. */
  private findPort(entry: Entry, labels: readonly string[]): ZoneAnswer {
    const [port, protocol] = labels.length === 2 ? labels : [undefined, labels[0]];
    if (labels.length > 2 || protocol === undefined) return undefined;
    const matches = (candidate: ServicePort | SlicePort): boolean =>
      !!candidate.name &&
      `_${(candidate.protocol ?? 'TCP').toLowerCase()}` === protocol &&
      (port === undefined || `_${candidate.name}` === port);
    const service = this.nameOf(entry);
    const spec = entry.service?.spec;
    const records: ZoneRecord[] = [];
    if (spec?.clusterIP === 'None') {
      for (const endpoint of entry.endpoints) {
        for (const candidate of endpoint.ports) {
          if (!matches(candidate) || candidate.port === undefined) continue;
          const target = `${endpoint.hostname}.${service}`;
          records.push({ type: 'SRV', target, port: candidate.port, addresses: [endpoint.address] });
        }
      }
    } else {
      for (const candidate of spec?.ports ?? []) {
        if (!matches(candidate)) continue;
        records.push({ type: 'SRV', target: service, port: candidate.port, addresses: clusterAddresses(spec ?? {}) });
      }
    }
    if (records.length === 0) return undefined;
    return port === undefined ? [] : records;
  }

  private findPod(labels: string[]): ZoneAnswer {
    const namespace = labels.pop();
    if (namespace === undefined) return [];
    if (!this.namespaces.has(namespace)) return undefined;
    if (labels.length === 0) return [];
    const octets = labels[0]?.split('-') ?? [];
    const valid =
      labels.length === 1 &&
      octets.length === 4 &&
      octets.every((text) => /^(0|[1-9]\d{0,2})$/.test(text) && Number(text) < 256);
    return valid ? this.addressOf(octets.join('.')) : undefined;
  }

  private addressOf(address: string): readonly ZoneRecord[] {
    return [{ type: familyOf(address), address }];
  }

  private nameOf({ name, namespace }: Entry): string {
    return `${name}.${namespace}.svc.${this.domain}`;
  }

  private entryOf(namespace: string | undefined, name: string): Entry {
    const key = `${namespace ?? 'default'}/${name}`;
    const known = this.entries.get(key);
    if (known) return known;
    const entry: Entry = {
      namespace: namespace ?? 'default',
      name,
      service: undefined,
      slices: new Map(),
      endpoints: [],
      reverse: [],
    };
    this.entries.set(key, entry);
    return entry;
  }

  private forgetEmpty(entry: Entry): void {
    if (entry.service === undefined && entry.slices.size === 0) this.entries.delete(`${entry.namespace}/${entry.name}`);
  }

  private countNamespace(namespace: string, change: number): void {
    const count = (this.namespaces.get(namespace) ?? 0) + change;
    if (count > 0) this.namespaces.set(namespace, count);
    else this.namespaces.delete(namespace);
  }

  /** Derive the entry's ready endpoints and PTR names. */
  private derive(entry: Entry): void {
    this.version++;
    for (const address of entry.reverse) {
      const names = this.names.get(address);
      names?.delete(entry);
      if (names?.size === 0) this.names.delete(address);
    }
    const spec = entry.service?.spec;
    const headless = spec?.clusterIP === 'None' && spec.type !== 'ExternalName';
    entry.endpoints = headless
      ? readyEndpoints([...entry.slices.values()], spec.publishNotReadyAddresses === true)
      : [];
    const reverse = new Map<string, string>();
    const name = this.nameOf(entry);
    if (spec && !headless) for (const address of clusterAddresses(spec)) reverse.set(address, name);
    for (const { address, hostname, named } of entry.endpoints) if (named) reverse.set(address, `${hostname}.${name}`);
    for (const [address, own] of reverse) {
      const names = this.names.get(address) ?? new Map<Entry, string>();
      names.set(entry, own);
      this.names.set(address, names);
    }
    entry.reverse = [...reverse.keys()];
  }
}

const serviceOf = (slice: EndpointSlice): string | undefined => slice.metadata.labels?.[SERVICE_LABEL];

const familyOf = (address: string): 'A' | 'AAAA' => (address.includes(':') ? 'AAAA' : 'A');

const addressRecord = ({ family, address }: Endpoint): ZoneRecord => ({ type: family, address });

/** ClusterIPs that are addresses; none for headless services and those not yet assigned. */
function clusterAddresses(spec: { clusterIP?: string; clusterIPs?: readonly string[] }): readonly string[] {
  const addresses = spec.clusterIPs ?? (spec.clusterIP === undefined ? [] : [spec.clusterIP]);
  return addresses.filter((address) => address !== '' && address !== 'None');
}

function readyEndpoints(slices: readonly EndpointSlice[], publishNotReady: boolean): readonly Endpoint[] {
  const found = new Map<string, Endpoint>();
  for (const { endpoints, ports = [], addressType } of slices) {
    if (addressType === 'FQDN') continue;
    for (const { addresses, conditions, hostname } of endpoints ?? []) {
      if (conditions?.ready === false && !publishNotReady) continue;
      for (const address of addresses) {
        const known = found.get(address);
        found.set(address, {
          address,
          family: familyOf(address),
          hostname: hostname?.toLowerCase() ?? known?.hostname ?? address.replace(/[.:]/g, '-'),
          named: hostname !== undefined || known?.named === true,
          // Endpoints with different ports are in different slices.
          ports: [...(known?.ports ?? []), ...ports],
        });
      }
    }
  }
  return [...found.values()];
}
