/** Names of a node's ports, from its tables and the API: `n1/default/mc3/eth0`, `n1/dp0`. */
import { attachNodeTable, HopWord, type NodeTable, NodeWord } from '../../../native-free-dataplane/node/config.ts';
import { firstNodeHop, HopKind, hopAt, hopKind, tunnelPort } from '../../../native-free-dataplane/node/hops.ts';
import { formatAddress } from '../../../native-free-dataplane/wire/address.ts';
import type { Pod } from '../../api/types/objects.ts';
import { openShared, type SharedMemory } from '../../linux/shm.ts';
import { memoryName } from '../../shm-names.ts';
import type { Names } from '../trace/names.ts';

export interface PortIdentity {
  /** For people, and as the name of an interface: `n1/default/mc3/eth0`. */
  readonly name: string;
  readonly description: string;
  /** Address of the pod; '' for dp0. */
  readonly address: string;
  readonly pod: Pod | undefined;
}

/** Words of a hop that decide whose port it is: up to the end of its address. */
const IDENTITY_WORDS: number = HopWord.ADDRESS_2;

interface KnownPort {
  /** Those words when the identity was made. */
  readonly hop: Int32Array;
  readonly identity: PortIdentity;
}

export class NodePorts {
  readonly node: string;
  private readonly shared: SharedMemory;
  private readonly table: NodeTable;
  private readonly known = new Map<number, KnownPort>();

  /** @throws Error if the node's memory is of another version */
  constructor(node: string) {
    this.node = node;
    this.shared = openShared(memoryName(node, 'routes'));
    const table = attachNodeTable(this.shared.buffer);
    if (table === undefined) {
      this.shared.close();
      throw new Error(`node ${node} runs another version of dataplane`);
    }
    this.table = table;
  }

  get vxlanPort(): number {
    return this.table.config[NodeWord.VXLAN_PORT] as number;
  }

  /** Number of the port of the pod with this address; undefined if it is not on the node. */
  portOf(address: string): number | undefined {
    for (let port = 1; port < firstNodeHop(this.table); port++) if (this.addressAt(port) === address) return port;
    return undefined;
  }

  /** The pods that have a port, as NAMESPACE/NAME; those without a known name are left out. */
  pods(names: Names): string[] {
    const found: string[] = [];
    for (let port = 1; port < firstNodeHop(this.table); port++) {
      const address = this.addressAt(port);
      const pod = address === undefined ? undefined : names.podAt(address);
      if (pod !== undefined) found.push(`${pod.metadata.namespace ?? 'default'}/${pod.metadata.name}`);
    }
    return found;
  }

  /** Address of the pod at a port; undefined: it is not a pod's. */
  addressAt(port: number): string | undefined {
    if (port === 0 || hopKind(this.table, port) !== HopKind.POD) return undefined;
    return formatAddress(this.table.hops, hopAt(port) + HopWord.ADDRESS);
  }

  /**
   * The identity of a port. The object is the same until the port belongs to another pod, or until the name of its pod
   * becomes known.
   */
  identity(port: number, names: Names): PortIdentity {
    const known = this.known.get(port);
    // This is done for each frame: words are compared, not addresses as text.
    if (known !== undefined && (port === 0 || (known.identity.pod && this.isSameHop(port, known.hop))))
      return known.identity;
    const before = known?.identity;
    const address = this.addressAt(port) ?? before?.address ?? '';
    // A pod that has been deleted keeps the name under which it was captured.
    if (before?.address === address && (address === '' || before.pod !== undefined)) return before;
    const pod = address === '' ? undefined : names.podAt(address);
    if (before?.address === address && pod === undefined) return before;
    const identity = this.describe(port, address, pod);
    const at = hopAt(port);
    this.known.set(port, { hop: this.table.hops.slice(at, at + IDENTITY_WORDS), identity });
    return identity;
  }

  private isSameHop(port: number, hop: Int32Array): boolean {
    const at = hopAt(port);
    // The MTU may change for the same pod.
    for (let i = 0; i < hop.length; i++) {
      if (i !== HopWord.MTU && this.table.hops[at + i] !== hop[i]) return false;
    }
    return true;
  }

  private describe(port: number, address: string, pod: Pod | undefined): PortIdentity {
    const { node, table } = this;
    if (port === 0) return { name: `${node}/dp0`, description: `to and from the kernel of node ${node}`, address, pod };
    if (port === tunnelPort(table)) {
      return { name: `${node}/tunnel`, description: `the overlay of node ${node}`, address, pod };
    }
    const { namespace = 'default', name = address } = pod?.metadata ?? {};
    const label = pod === undefined ? address || `port-${port}` : `${namespace}/${name}`;
    const description = pod === undefined ? `port ${port}, ${address}` : `pod ${label}, ${address}`;
    return { name: `${node}/${label}/eth0`, description, address, pod };
  }

  close(): void {
    this.shared.close();
  }
}
