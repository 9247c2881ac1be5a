/** The state of a service on the nodes of this machine, read from their shared tables. */
import { SERVICE_PROTOCOLS } from '../../../native-free-dataplane/protocols.ts';
import { type AffinityView, viewAffinity } from '../../../native-free-dataplane/services/affinity.ts';
import { type ServicePortView, viewService } from '../../../native-free-dataplane/services/inspect.ts';
import { attachServices, type ServiceTable } from '../../../native-free-dataplane/services/table.ts';
import { addressWords } from '../../../native-free-dataplane/wire/address.ts';
import type { Service, ServicePort } from '../../api/types/objects.ts';
import { monotonicMs } from '../../linux/clock.ts';
import { openShared } from '../../linux/shm.ts';
import { listShared } from '../../linux/shm-files.ts';
import { memoryName, nodesWith, SHM_PREFIX } from '../../shm-names.ts';

export interface PortInForce {
  readonly port: ServicePort;
  /** Undefined if the node does not serve it. */
  readonly view: ServicePortView | undefined;
  /** Clients with session affinity. */
  readonly clients: readonly AffinityView[];
}

export interface ServiceOnNode {
  readonly node: string;
  readonly ports: readonly PortInForce[];
}

/** A service on every node whose tables can be read: none without root, or if the nodes are other machines. */
export function readServiceNodes(service: Service): ServiceOnNode[] {
  const { clusterIP } = service.spec;
  if (!clusterIP?.includes('.')) return [];
  const address = addressWords(clusterIP);
  return nodesWithServices().flatMap((node) => {
    const ports = withTable(node, (table) => (service.spec.ports ?? []).map((port) => readPort(table, port, address)));
    return ports === undefined ? [] : [{ node, ports }];
  });
}

function readPort(table: ServiceTable, port: ServicePort, address: Int32Array): PortInForce {
  const view = viewService(table, SERVICE_PROTOCOLS[port.protocol ?? 'TCP'] ?? 0, port.port, address);
  const sticky = view !== undefined && view.affinitySeconds > 0;
  return { port, view, clients: sticky ? viewAffinity(table, view.id, monotonicMs()) : [] };
}

function nodesWithServices(): string[] {
  return nodesWith('services', listShared(SHM_PREFIX));
}

function withTable<T>(node: string, work: (table: ServiceTable) => T): T | undefined {
  let memory: ReturnType<typeof openShared>;
  try {
    memory = openShared(memoryName(node, 'services'));
  } catch {
    return undefined;
  }
  try {
    const table = attachServices(memory.buffer);
    return table && work(table);
  } finally {
    memory.close();
  }
}
