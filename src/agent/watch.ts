/**
 * What a node watches at the API: an informer per kind, and the receivers of the changes. The copies stay as they are
 * while the API is unavailable.
 */
import type { ApiClient } from '../api/client/client.ts';
import { type Informer, startInformer } from '../api/client/informer.ts';
import {
  CONFIG_MAP,
  type ConfigMap,
  type EndpointSlice,
  type NodeObject,
  type Pod,
  type Secret,
  type Service,
} from '../api/types/objects.ts';
import type { Part } from './parts.ts';

/** Receivers of the cluster's changes. */
export interface ClusterChanges {
  /** This node's own object. */
  ownNode(node: NodeObject): void;
  /** The cluster's options. */
  options(map: ConfigMap): void;
  setNode(node: NodeObject): void;
  removeNode(name: string): void;
  /** Each of them gets all Services and slices. */
  readonly services: readonly ServiceChanges[];
}

/** Receiver of the changes of Services and slices. */
export interface ServiceChanges {
  setService(service: Service): void;
  removeService(service: Service): void;
  setSlice(slice: EndpointSlice, old?: EndpointSlice): void;
  removeSlice(slice: EndpointSlice): void;
}

/** The cluster as seen by this node: Services, slices, nodes, and the objects that its pods may mount. */
export class ClusterWatch implements Part {
  private readonly client: ApiClient;
  private readonly nodeName: string;
  private readonly mounts: boolean;
  private readonly changes: ClusterChanges;
  private readonly informers: { whenSynced(): Promise<void>; close(): void }[] = [];
  private configMaps: Informer<ConfigMap> | undefined;
  private secrets: Informer<Secret> | undefined;
  private services: Informer<Service> | undefined;

  /** @param mounts watch every ConfigMap and Secret, because this node runs pods that may mount them */
  constructor(client: ApiClient, nodeName: string, mounts: boolean, changes: ClusterChanges) {
    this.client = client;
    this.nodeName = nodeName;
    this.mounts = mounts;
    this.changes = changes;
  }

  start(): void {
    const { client, changes, nodeName, mounts } = this;
    const keep = <T extends { whenSynced(): Promise<void>; close(): void }>(informer: T): T => {
      this.informers.push(informer);
      return informer;
    };
    const setOptions = (map: ConfigMap): void => {
      const { namespace, name } = map.metadata;
      if (namespace === CONFIG_MAP.namespace && name === CONFIG_MAP.name) changes.options(map);
    };
    const setNode = (node: NodeObject): void =>
      node.metadata.name === nodeName ? changes.ownNode(node) : changes.setNode(node);
    const each = (change: (to: ServiceChanges) => void): void => changes.services.forEach(change);
    const setService = (service: Service): void => each((to) => to.setService(service));

    this.services = keep(
      startInformer(
        client,
        'Service',
        {},
        { added: setService, updated: setService, deleted: (service) => each((to) => to.removeService(service)) },
      ),
    );
    const optionsOnly = { namespace: CONFIG_MAP.namespace, fieldSelector: `metadata.name=${CONFIG_MAP.name}` };
    this.configMaps = keep(
      startInformer(client, 'ConfigMap', mounts ? {} : optionsOnly, { added: setOptions, updated: setOptions }),
    );
    if (mounts) this.secrets = keep(startInformer(client, 'Secret'));
    keep(
      startInformer(
        client,
        'Node',
        {},
        { added: setNode, updated: setNode, deleted: (node) => changes.removeNode(node.metadata.name) },
      ),
    );
    keep(
      startInformer(
        client,
        'EndpointSlice',
        {},
        {
          added: (slice) => each((to) => to.setSlice(slice)),
          updated: (slice, old) => each((to) => to.setSlice(slice, old)),
          deleted: (slice) => each((to) => to.removeSlice(slice)),
        },
      ),
    );
  }

  /** Resolves when every list is complete. */
  async whenSynced(): Promise<void> {
    await Promise.all(this.informers.map((informer) => informer.whenSynced()));
  }

  service(namespace: string, name: string): Service | undefined {
    return this.services?.get(namespace, name);
  }

  allServices(): Iterable<Service> {
    return this.services?.values() ?? [];
  }

  configMap(namespace: string, name: string): ConfigMap | undefined {
    return this.configMaps?.get(namespace, name);
  }

  secret(namespace: string, name: string): Secret | undefined {
    return this.secrets?.get(namespace, name);
  }

  close(): void {
    for (const informer of this.informers) informer.close();
  }
}

/** Receiver of the changes of pods. */
export interface PodChanges {
  /** A pod is new or changed. */
  set(pod: Pod): void;
  /** The complete list of the node's pods. Called after each change, once the initial list is complete. */
  sync(pods: readonly Pod[]): void;
}

/** The pods of this node. */
export class PodWatch implements Part {
  private readonly client: ApiClient;
  private readonly nodeName: string;
  private readonly changes: PodChanges;
  private pods: Informer<Pod> | undefined;

  constructor(client: ApiClient, nodeName: string, changes: PodChanges) {
    this.client = client;
    this.nodeName = nodeName;
    this.changes = changes;
  }

  start(): void {
    const set = (pod: Pod): void => {
      this.changes.set(pod);
      this.sync();
    };
    const selection = { fieldSelector: `spec.nodeName=${this.nodeName}` };
    this.pods = startInformer(this.client, 'Pod', selection, {
      added: set,
      updated: set,
      deleted: () => this.sync(),
    });
  }

  /** Resolves when the list is complete. */
  async whenSynced(): Promise<void> {
    await this.pods?.whenSynced();
  }

  pod(namespace: string, name: string): Pod | undefined {
    return this.pods?.get(namespace, name);
  }

  all(): Pod[] {
    return [...(this.pods?.values() ?? [])];
  }

  sync(): void {
    if (this.pods?.synced) this.changes.sync(this.all());
  }

  close(): void {
    this.pods?.close();
  }
}
