/**
 * The cluster's name server on this node: answers pods and the node itself from the agent's watches. It listens on the
 * node's address; Service kube-system/kube-dns leads to it from the pods of this node only.
 */
import { DNS_PORT } from '../api/cluster-options.ts';
import type { EndpointSlice, Service } from '../api/types/objects.ts';
import { ClusterZone } from '../dns/cluster-zone.ts';
import { Forwarder } from '../dns/forwarder.ts';
import { Resolver } from '../dns/resolver.ts';
import { DnsServer, RECEIVE_BYTES } from '../dns/server.ts';
import { monotonicMs } from '../linux/clock.ts';
import { boundUdpSocket } from '../linux/udp-socket.ts';
import { contains, parseCidr, parseIp } from '../net/address.ts';
import { parseNameServer } from '../net/name-server.ts';
import type { NodeConfig } from './config.ts';
import type { Part } from './parts.ts';

/** Delay before another attempt to listen if the address is not configured yet or the port is in use. */
const RETRY_MS = 1000;

type NameServerConfig = Pick<
  NodeConfig,
  'nodeIP' | 'clusterCIDR' | 'serviceCIDR' | 'dnsAddress' | 'dnsUpstreams' | 'clusterDomain'
>;

/** The name server of one node. It receives the changes of Services and slices from the watch. */
export class NodeNameServer implements Part {
  private readonly config: NameServerConfig;
  private readonly log: (line: string) => void;
  private readonly zone: ClusterZone;
  private server: DnsServer | undefined;
  private timer: NodeJS.Timeout | undefined;
  private closed = false;
  private reported = '';

  constructor(config: NameServerConfig, log: (line: string) => void) {
    this.config = config;
    this.log = log;
    this.zone = new ClusterZone(config.clusterDomain, config.dnsAddress);
  }

  /** Start serving. All Services are known by now, so that no existing name is denied. */
  start(): void {
    const { log } = this;
    const { nodeIP, dnsUpstreams } = this.config;
    const servers = dnsUpstreams.flatMap((text) => parseNameServer(text) ?? []);
    const upstream = servers.length > 0 ? new Forwarder(servers, monotonicMs) : undefined;
    const resolver = new Resolver({ zone: this.zone, upstream, isOwnAddress: isInside(this.config) });
    const listen = (): void => {
      listenWithRoom(nodeIP, resolver, log)
        .then((server) => {
          if (this.closed) server.close();
          else this.server = server;
        })
        .catch((error: Error) => {
          if (error.message !== this.reported) log(`name server: ${error.message}; trying again`);
          this.reported = error.message;
          if (!this.closed) this.timer = setTimeout(listen, RETRY_MS);
        });
    };
    listen();
  }

  setService(service: Service): void {
    this.zone.setService(service);
  }

  removeService(service: Service): void {
    this.zone.removeService(service);
  }

  setSlice(slice: EndpointSlice, old?: EndpointSlice): void {
    this.zone.setSlice(slice, old);
  }

  removeSlice(slice: EndpointSlice): void {
    this.zone.removeSlice(slice);
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
    this.server?.close();
  }
}

async function listenWithRoom(address: string, resolver: Resolver, log: (line: string) => void): Promise<DnsServer> {
  const udpSocket = boundUdpSocket(address, DNS_PORT, RECEIVE_BYTES);
  return DnsServer.listen({ address, port: DNS_PORT, udpSocket, resolver, log });
}

/** Is an address one of the cluster's pods or Services? */
function isInside({ clusterCIDR, serviceCIDR }: NameServerConfig): (text: string) => boolean {
  const networks = [clusterCIDR, serviceCIDR].map(parseCidr).filter((network) => network !== undefined);
  return (text) => {
    const ip = parseIp(text);
    return ip !== undefined && networks.some((network) => contains(network, ip));
  };
}
