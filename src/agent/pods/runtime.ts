/** The pod runtime of a node, connected to the API and the data plane. */
import type { ApiClient } from '../../api/client/client.ts';
import { PodManager } from '../../runtime/pod/manager.ts';
import type { NodeConfig } from '../config.ts';
import type { RecordEvent } from '../events.ts';
import type { ClusterWatch } from '../watch.ts';
import { AddressPool } from './address-pool.ts';
import type { PodNetwork } from './network.ts';

/** What the runtime is connected to. */
export interface PodRuntimeOptions {
  readonly client: ApiClient;
  readonly config: NodeConfig;
  readonly stateDir: string;
  /** YAML files that extend the image catalogue. */
  readonly catalogue?: readonly string[] | undefined;
  readonly network: PodNetwork;
  /** Assign addresses to pods: the API server is not ours, whose scheduler does. */
  readonly assignsAddresses: boolean;
  /**
   * Objects that pods mount, and the Services in their environment. What the watch does not have yet is requested from
   * the API.
   */
  readonly watch: Pick<ClusterWatch, 'configMap' | 'secret' | 'allServices'>;
  readonly recordEvent: RecordEvent;
  readonly log: (line: string) => void;
}

/** Create the pod runtime of a node. It does nothing until it gets pods. */
export function openPodRuntime(options: PodRuntimeOptions): PodManager {
  const { client, config, stateDir, catalogue, network, assignsAddresses, watch, recordEvent, log } = options;
  return new PodManager({
    nodeName: config.nodeName,
    nodeIP: config.nodeIP,
    stateDir,
    ...(catalogue !== undefined && { catalogueFiles: catalogue }),
    containerRuntime: config.containerRuntime,
    dns: { nameservers: [config.dnsAddress], domain: config.clusterDomain },
    services: () => watch.allServices(),
    network,
    ...(assignsAddresses && { addresses: new AddressPool(config.podCIDR) }),
    getConfigMap: (namespace, name) => watch.configMap(namespace, name) ?? client.find('ConfigMap', name, namespace),
    getClaimedVolume: async (namespace, name) => {
      const claim = await client.find('PersistentVolumeClaim', name, namespace);
      if (claim === undefined) throw new Error(`persistentvolumeclaim "${name}" not found`);
      const { volumeName } = claim.spec;
      if (claim.status?.phase !== 'Bound' || volumeName === undefined) return undefined;
      return client.find('PersistentVolume', volumeName);
    },
    getSecret: (namespace, name) => watch.secret(namespace, name) ?? client.find('Secret', name, namespace),
    requestToken: ({ metadata: { namespace = 'default', name, uid }, spec }, audience, expirationSeconds) =>
      client.requestToken(namespace, spec.serviceAccountName ?? 'default', {
        ...(audience !== undefined && { audiences: [audience] }),
        expirationSeconds,
        boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name, uid },
      }),
    reportStatus: async (pod, status) => {
      const { name, namespace = 'default' } = pod.metadata;
      await client.patch('Pod', name, { status }, { namespace, subresource: 'status', type: 'merge' });
    },
    confirmDeleted: async (pod) => {
      const { name, namespace = 'default', uid } = pod.metadata;
      await client.delete('Pod', name, { namespace, gracePeriodSeconds: 0, preconditions: { uid } });
    },
    recordEvent,
    log,
  });
}
