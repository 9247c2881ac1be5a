/** What the pod manager is given by the agent: where things are, the network, and the way to the API. */
import type { ConfigMap, Pod, PodStatus, Secret, Service } from '../../api/types/objects.ts';
import type { Sandbox } from './sandbox.ts';

export interface PodNetwork {
  /**
   * Give the sandbox its `eth0`. Called after the pause process holds the namespace and before any container starts, and
   * again for a sandbox that another agent process left behind, while its containers run.
   */
  attach(sandbox: Sandbox): Promise<void>;
  /** The sandbox is about to go: let go of its devices. */
  detach(sandbox: Sandbox): Promise<void>;
}

export interface PodManagerOptions {
  nodeName: string;
  /** Address of the node, for `status.hostIP` and fieldRef `status.hostIP`. */
  nodeIP?: string;
  /** Default /run/dataplane. */
  stateDir?: string;
  /** YAML files that add to the image catalogue; those in /etc/dataplane/catalogue.d are read in any case. */
  catalogueFiles?: readonly string[];
  /** Name servers for pods with dnsPolicy ClusterFirst; without any they get the host's own /etc/resolv.conf. */
  dns?: { nameservers: readonly string[]; domain: string };
  /** The cluster's Services, which a container finds in its environment. */
  services?: () => Iterable<Service>;
  network: PodNetwork;
  getConfigMap(namespace: string, name: string): ConfigMap | undefined | Promise<ConfigMap | undefined>;
  getSecret(namespace: string, name: string): Secret | undefined | Promise<Secret | undefined>;
  /** A token of the pod's service account, bound to the pod. Absent: there are none. */
  requestToken?(
    pod: Pod,
    audience: string | undefined,
    expirationSeconds: number,
  ): Promise<{ token: string; expiresAtMs: number }>;
  /** Write the status (whole fields, good as a merge patch). A rejection is tried again later, 404 is the end. */
  reportStatus(pod: Pod, status: PodStatus): Promise<void>;
  /** Nothing of a pod that was being deleted is left: remove the object for good. */
  confirmDeleted(pod: Pod): Promise<void>;
  recordEvent(pod: Pod, type: 'Normal' | 'Warning', reason: string, message: string): void;
  log(message: string): void;
  /** First delay before a container that ended once more is started again; doubles up to 30 times this. Default 10000. */
  backOffMs?: number;
}
