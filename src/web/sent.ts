/** Edges of the playground's topology: the packets that were sent. */
import { EdgeBook } from '../ui/edges.ts';
import { Directory, endsOfConnection } from '../ui/flow-ends.ts';
import type { EdgeView, Topology, WalkRequest, WalkView } from '../ui/protocol.ts';

export class Sent {
  private book = new EdgeBook();

  forget(): void {
    this.book = new EdgeBook();
  }

  /** Adds a packet. @returns all edges */
  add(request: WalkRequest, walk: WalkView, topology: Topology): EdgeView[] {
    const directory = new Directory(topology);
    const service = topology.services.find(
      ({ ip, ports }) => ip === request.to || ports.some(({ nodePort }) => nodePort === request.port && nodePort > 0),
    );
    const arrived = topology.pods.find(({ namespace, name }) => walk.to === `pod ${namespace}/${name}`);
    const ends = endsOfConnection(
      {
        client: addressOf(request.from, topology),
        server: arrived?.ip ?? request.to,
        protocol: request.protocol,
        srcPort: request.srcPort ?? 0,
        port: request.port,
        asked: service && { name: service.name, namespace: service.namespace, ip: request.to, port: request.port },
      },
      directory,
    );
    const failed = walk.nodes.find((node) => node.failed);
    if (walk.to === '') this.book.dropped({ ...ends, sample: request }, failed?.verdict ?? '', 0);
    else this.book.opened({ ...ends, sample: request }, 0);
    return this.book.all();
  }
}

function addressOf(from: string, { nodes }: Topology): string {
  return nodes.find(({ name }) => from === `node/${name}`)?.ip ?? from;
}
