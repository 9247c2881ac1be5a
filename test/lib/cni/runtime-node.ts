/** A node of a cluster on which a container runtime runs the pods: an agent with the CNI plugin, and the rest of a kubelet. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Attachment } from '../../../src/agent/cni/attachments.ts';
import type { CniDirectories } from '../../../src/agent/cni/installation.ts';
import { ApiClient } from '../../../src/api/client/client.ts';
import type { NodeObject, Pod } from '../../../src/api/types/objects.ts';
import { API_SOCKET } from '../../../src/cluster/state.ts';
import { type Cluster, output, run, startCluster } from '../cluster.ts';
import { JoinedNode } from '../joined-node.ts';
import { type CniContainer, makeContainerNamespace } from './called-plugin.ts';

export const NODE = 'c1';
export const NODE_IP = '172.18.0.60';
/** The agent's line when runtimes can call it. */
export const SERVED = 'container runtimes are served';

export class RuntimeNode {
  readonly cluster: Cluster;
  readonly client = new ApiClient(API_SOCKET);
  readonly node = new JoinedNode({ name: NODE, ip: NODE_IP });
  private kubelet: NodeJS.Timeout | undefined;

  private constructor(cluster: Cluster) {
    this.cluster = cluster;
  }

  /**
   * A cluster with one node of its own, and this node. Its agent does not run yet.
   * @param places where the plugin and its configuration are installed; default: below the node's directory
   */
  static async make(manifests: readonly object[], places?: CniDirectories): Promise<RuntimeNode> {
    const cluster = await startCluster({ args: ['--nodes', '1', '--authorization', 'rbac'], manifests });
    const made = new RuntimeNode(cluster);
    await made.prepare(places);
    return made;
  }

  private async prepare(places: CniDirectories | undefined): Promise<void> {
    const { client, cluster, node } = this;
    await client.create<NodeObject>({
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: NODE },
      status: { addresses: [{ type: 'InternalIP', address: NODE_IP }] },
    });
    const isReady = { type: 'Ready', status: 'True', reason: 'KubeletReady', message: '' };
    this.kubelet = setInterval(() => {
      const condition = { ...isReady, lastHeartbeatTime: new Date().toISOString() };
      const options = { subresource: 'status', type: 'strategic' } as const;
      client.patch('Node', NODE, { status: { conditions: [condition] } }, options).catch(() => {});
    }, 1000);
    const { configuration, programs } = places ?? this.directories;
    node.args.push('--cni', '--cni-conf-dir', configuration, '--cni-bin-dir', programs, '--cni-socket', this.socket);
    await node.make(cluster);
    // The agent identifies itself by a token, and may do what the shipped roles allow, and nothing more.
    await cluster.cli('apply', '-f', 'scripts/deploy/kustomize/rbac.yaml');
    const { token } = await client.requestToken('kube-system', 'dataplane-agent', {});
    node.useToken(token);
  }

  /** Default places of the plugin and its configuration. */
  get directories(): CniDirectories {
    return { configuration: join(this.node.directory, 'net.d'), programs: join(this.node.directory, 'bin') };
  }

  /** The agent's, for plugins. */
  get socket(): string {
    return join(this.node.directory, 'cni.sock');
  }

  get attachmentsFile(): string {
    return join(this.node.directory, 'state/nodes', NODE, 'cni.json');
  }

  /** What the agent has connected. */
  attachments(): Attachment[] {
    return JSON.parse(readFileSync(this.attachmentsFile, 'utf8')) as Attachment[];
  }

  /** A pod at the API that kubelet would start on this node. */
  async makePod(name: string, labels: Record<string, string> = {}): Promise<{ uid: string }> {
    const { metadata } = await this.client.create<Pod>({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: 'default', labels },
      spec: { nodeName: NODE, containers: [{ name: 'main', image: 'any' }] },
    });
    return { uid: metadata.uid as string };
  }

  /** Such a pod, with its network namespace. */
  async makeSandbox(name: string, labels: Record<string, string> = {}): Promise<CniContainer> {
    await this.makePod(name, labels);
    return makeContainer(name, { namespace: 'default', name });
  }

  async remove(): Promise<void> {
    clearInterval(this.kubelet);
    this.client.close();
    await this.node.remove();
    await this.cluster.down();
  }
}

/** A container with its network namespace. */
export async function makeContainer(id: string, pod?: CniContainer['pod']): Promise<CniContainer> {
  const netns = `container-${id}`;
  await makeContainerNamespace(netns);
  return { id, netns, ...(pod && { pod }) };
}

export async function removeContainer({ netns }: CniContainer): Promise<void> {
  await output(run(['ip', 'netns', 'delete', netns]));
}
