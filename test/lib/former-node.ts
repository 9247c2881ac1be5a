/**
 * A node as it was before our agent: flannel's devices, and kube-proxy if there is one here, in the namespace of a node that is
 * going to join by a kubeconfig (joined-node.ts). flannel's part is made as its daemon and its plugin make it
 * (overlay/foreign-node.ts).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { ApiClient } from '../../src/api/client/client.ts';
import type { NodeObject } from '../../src/api/types/objects.ts';
import { type Cluster, eventually, nodeNetns, output, type Ran, run } from './cluster.ts';
import { JoinedNode } from './joined-node.ts';
import { addNamespaces, ip, makeHost, removeNamespaces } from './namespaces.ts';
import { makeFlannel, type Peer } from './overlay/foreign-node.ts';

/** Behind VXLAN over an underlay of 1500. */
const POD_MTU = 1450;
const KUBE_PROXY = process.env.KUBE_PROXY;

/** The reason there is no kube-proxy here; undefined if there is. */
export const whyNoKubeProxy = (): string | undefined =>
  KUBE_PROXY ? undefined : 'KUBE_PROXY not set (scripts/install-control-plane.sh)';

export type ProxyMode = 'iptables' | 'nftables';

export class FormerNode {
  readonly node: JoinedNode;
  readonly netns: string;
  podCIDR = '';
  /** What kube-proxy has logged. */
  log = '';
  readonly ip: string;
  private readonly mac: string;
  private readonly podNetns: string;
  private proxy: ChildProcess | undefined;
  private server: ChildProcess | undefined;

  /** @param number 1 to 9: makes its address and its VTEP's MAC its own */
  constructor(name: string, number: number) {
    this.ip = `172.18.0.${60 + number}`;
    this.mac = `5e:11:22:33:44:0${number}`;
    this.node = new JoinedNode({ name, ip: this.ip, args: ['--takeover'] });
    this.netns = nodeNetns(name);
    this.podNetns = `former-pod-${name}`;
  }

  /** The namespace, the Node object, and flannel. */
  async make(cluster: Cluster, client: ApiClient, peers: readonly Peer[]): Promise<void> {
    await this.node.make(cluster);
    const { name } = this.node;
    const status = { addresses: [{ type: 'InternalIP', address: this.ip }] };
    await client.create<NodeObject>({ apiVersion: 'v1', kind: 'Node', metadata: { name }, status } as NodeObject);
    this.podCIDR = await eventually(async () => (await client.get('Node', name)).spec?.podCIDR);
    await this.startFlannel(client, peers);
  }

  /** flannel's devices, and what its daemon writes into the Node object. */
  async startFlannel(client: ApiClient, peers: readonly Peer[]): Promise<void> {
    const vtep = this.podCIDR.replace(/\/.*/, '');
    await makeFlannel(peers, { netns: this.netns, address: this.ip, mac: this.mac, vtep });
    await output(this.exec('sysctl', '-qw', 'net.ipv4.ip_forward=1'));
    const annotations = {
      'flannel.alpha.coreos.com/backend-type': 'vxlan',
      'flannel.alpha.coreos.com/backend-data': JSON.stringify({ VNI: 1, VtepMAC: this.mac }),
      'flannel.alpha.coreos.com/public-ip': this.ip,
      'flannel.alpha.coreos.com/kube-subnet-manager': 'true',
    };
    await client.patch('Node', this.node.name, { metadata: { annotations } });
  }

  async stopFlannel(): Promise<void> {
    await output(this.exec('ip', 'link', 'del', 'flannel.1'));
  }

  /** Address of the pod behind flannel's bridge. */
  get podIP(): string {
    return this.addressOf(77);
  }

  /** The pod behind flannel's bridge, with the program that serves in it. */
  async startPod(command: readonly string[]): Promise<void> {
    const { podNetns, netns } = this;
    await addNamespaces(podNetns);
    await ip(
      netns,
      `link add cni0 mtu ${POD_MTU} type bridge`,
      'link set cni0 up',
      `address add ${this.addressOf(1)}/24 dev cni0`,
      `link add vethpod mtu ${POD_MTU} type veth peer name eth0 mtu ${POD_MTU} netns ${podNetns}`,
      'link set vethpod master cni0 up',
    );
    await makeHost(podNetns, this.podIP, this.addressOf(1));
    this.server = spawn('ip', ['netns', 'exec', podNetns, ...command], { stdio: 'ignore' });
  }

  async stopPod(): Promise<void> {
    this.server?.kill('SIGKILL');
    this.server = undefined;
    await removeNamespaces(this.podNetns);
    await output(this.exec('ip', 'link', 'del', 'cni0'));
  }

  private addressOf(host: number): string {
    return this.podCIDR.replace(/\d+\/24$/, `${host}`);
  }

  exec(...command: string[]): Promise<Ran> {
    return run(['ip', 'netns', 'exec', this.netns, ...command]);
  }

  startProxy(mode: ProxyMode): void {
    const args = [
      ...['--kubeconfig', this.node.kubeconfig, '--hostname-override', this.node.name, '--proxy-mode', mode],
      ...['--cluster-cidr', '10.244.0.0/16', '--detect-local-mode', 'ClusterCIDR', '--conntrack-max-per-core', '0'],
    ];
    const child = spawn('nsenter', [`--net=/run/netns/${this.netns}`, KUBE_PROXY as string, ...args], {
      stdio: 'pipe',
    });
    this.proxy = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.log += text;
      });
    }
  }

  /** End kube-proxy; its rules stay. */
  async stopProxy(): Promise<void> {
    const { proxy } = this;
    if (proxy === undefined || proxy.exitCode !== null || proxy.signalCode !== null) return;
    const ended = new Promise((resolve) => proxy.once('exit', resolve));
    proxy.kill('SIGTERM');
    await ended;
  }

  async remove(): Promise<void> {
    this.proxy?.kill('SIGKILL');
    if (this.server) await this.stopPod();
    await this.node.remove();
  }
}
