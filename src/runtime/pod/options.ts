/** What the agent passes to the pod manager: directories, the network, and access to the API. */
import type { ContainerRuntime } from '../../api/cluster-options.ts';
import type { ConfigMap, PersistentVolume, Pod, PodStatus, Secret, Service } from '../../api/types/objects.ts';
import type { PodGroups } from './groups.ts';
import type { Sandbox } from './sandbox.ts';

export interface PodNetwork {
  /**
   * Give the sandbox its `eth0`. Called when the pause process holds the namespace and before any container starts, and
   * again, with containers running, for a sandbox that another agent process left behind.
   */
  attach(sandbox: Sandbox): Promise<void>;
  /** The sandbox is about to be removed: release its devices. */
  detach(sandbox: Sandbox): Promise<void>;
}

/** Assigns addresses to this node's pods. */
export interface PodAddresses {
  /** A free address; undefined if there is none. */
  assign(): string | undefined;
  /** Take a certain address. @returns why it cannot be had; undefined if it is taken now */
  take(address: string): string | undefined;
  release(address: string): void;
}

export interface PodManagerOptions {
  nodeName: string;
  /** Address of the node, for `status.hostIP` and the fieldRef `status.hostIP`. */
  nodeIP?: string;
  /** Default: /run/dataplane. */
  stateDir?: string;
  /** YAML files that extend the image catalogue; those in /etc/dataplane/catalogue.d are always read. */
  catalogueFiles?: readonly string[];
  /** What starts containers of images. Default: auto. */
  containerRuntime?: ContainerRuntime;
  /** Name servers for pods with dnsPolicy ClusterFirst; without any they use the host's own /etc/resolv.conf. */
  dns?: { nameservers: readonly string[]; domain: string };
  /** The cluster's Services, for containers' environment variables. */
  services?: () => Iterable<Service>;
  network: PodNetwork;
  /** Present where the cluster does not assign pods' addresses with the node (annotation dataplane.dev/pod-ip). */
  addresses?: PodAddresses;
  getConfigMap(namespace: string, name: string): ConfigMap | undefined | Promise<ConfigMap | undefined>;
  /** The volume that a claim is bound to; undefined while it is bound to none. Absent: there are no claims. */
  getClaimedVolume?(namespace: string, claim: string): Promise<PersistentVolume | undefined>;
  getSecret(namespace: string, name: string): Secret | undefined | Promise<Secret | undefined>;
  /** A token of the pod's service account, bound to the pod. Absent: tokens are not available. */
  requestToken?(
    pod: Pod,
    audience: string | undefined,
    expirationSeconds: number,
  ): Promise<{ token: string; expiresAtMs: number }>;
  /** Write the status (complete fields, usable as a merge patch). A rejection is retried later; 404 is final. */
  reportStatus(pod: Pod, status: PodStatus): Promise<void>;
  /** A pod being deleted is completely removed here: delete the object. */
  confirmDeleted(pod: Pod): Promise<void>;
  recordEvent(pod: Pod, type: 'Normal' | 'Warning', reason: string, message: string, fieldPath?: string): void;
  log(message: string): void;
  /** Default: those of the state directory, where this machine allows control groups. */
  groups?: PodGroups;
  /** First delay before a container that failed again is restarted; doubles up to 30 times this. Default: 10000. */
  backOffMs?: number;
}
