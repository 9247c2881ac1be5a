/**
 * A node with Kubernetes' own kubelet and containerd, in the namespace of a machine of the control plane's network
 * (control-plane.ts), and our agent beside them as CNI plugin and service proxy. No bridge and no kube-proxy.
 *
 * kubelet refuses control groups of version 1 from 1.35 on, unless it is told otherwise; this configuration works with both.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { nodeNetns, run } from '../cluster.ts';
import type { ControlPlane } from '../control-plane.ts';
import { Containerd, whyNoContainerd } from './containerd.ts';

const KUBELET = process.env.KUBELET;
/** Of the Service of the cluster's name server. */
export const CLUSTER_DNS = '10.96.0.10';

/** The reason there is no kubelet here; undefined if there is. */
export const whyNoKubelet = (): string | undefined =>
  KUBELET ? whyNoContainerd() : 'KUBELET not set (scripts/install-control-plane.sh)';

export class KubeletNode {
  readonly name: string;
  readonly netns: string;
  readonly containerd: Containerd;
  private readonly plane: ControlPlane;
  private readonly directory: string;

  constructor(plane: ControlPlane, name: string) {
    this.plane = plane;
    this.name = name;
    this.netns = nodeNetns(name);
    // Not below /tmp: the path of containerd's sockets may have 108 bytes.
    this.directory = `/run/kubelet-${name}`;
    this.containerd = new Containerd(join(this.directory, 'containerd'), name, {
      configuration: join(this.directory, 'net.d'),
      programs: join(this.directory, 'bin'),
    });
  }

  async start(ip: string): Promise<void> {
    for (const part of ['net.d', 'bin', 'kubelet']) mkdirSync(join(this.directory, part), { recursive: true });
    await this.containerd.start();
    const [root, config] = [join(this.directory, 'kubelet'), join(this.directory, 'kubelet.json')];
    writeFileSync(config, JSON.stringify(this.configuration()));
    const resolver = join(this.directory, 'resolv.conf');
    writeFileSync(resolver, 'nameserver 172.18.0.1\n');
    const places = ['--config', config, '--root-dir', root, '--cert-dir', join(this.directory, 'pki')];
    const identity = ['--hostname-override', this.name, '--node-ip', ip];
    this.plane.startKubelet(this.name, KUBELET as string, ...places, ...identity);
    this.startAgent();
  }

  startAgent(): void {
    const places = ['--cni-conf-dir', join(this.directory, 'net.d'), '--cni-bin-dir', join(this.directory, 'bin')];
    const own = ['--cni-socket', join(this.directory, 'cni.sock'), '--state', join(this.directory, 'state')];
    this.plane.startAgent(this.name, this.plane.kubeconfig, ['--cni', ...places, ...own]);
  }

  private configuration(): object {
    return {
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      containerRuntimeEndpoint: `unix://${this.containerd.socket}`,
      failCgroupV1: false,
      failSwapOn: false,
      cgroupDriver: 'cgroupfs',
      // The groups of the machine are shared by both kubelets, which would each remove what they do not know.
      cgroupsPerQOS: false,
      enforceNodeAllocatable: [],
      authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
      authorization: { mode: 'AlwaysAllow' },
      clusterDNS: [CLUSTER_DNS],
      clusterDomain: 'cluster.local',
      resolvConf: join(this.directory, 'resolv.conf'),
      evictionHard: { 'memory.available': '50Mi', 'nodefs.available': '1%', 'imagefs.available': '1%' },
      // A test's pods end soon.
      syncFrequency: '10s',
      nodeStatusUpdateFrequency: '2s',
    };
  }

  /** Its pods, containerd and files go; the namespace goes with the control plane's. */
  async remove(): Promise<void> {
    await this.plane.stop(`kubelet-${this.name}`, 'SIGKILL');
    await this.containerd.stop();
    // Volumes of pods that it has not taken away.
    for (const line of readFileSync('/proc/self/mounts', 'utf8').split('\n').reverse()) {
      const [, path = ''] = line.split(' ');
      if (path.startsWith(`${this.directory}/`)) await run(['umount', '-l', path]);
    }
    rmSync(this.directory, { recursive: true, force: true });
  }
}
