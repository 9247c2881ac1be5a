/**
 * The commands of the CNI plugin, carried out by the agent: a container's namespace gets a device and an address, and
 * becomes a pod of this node. CNI specification 1.1.0 (containernetworking/cni SPEC.md).
 *
 * Commands run one after the other: their work is done on this thread anyway, and two for one container never overlap.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Pod } from '../../api/types/objects.ts';
import { CniCode, type CniConfig, CniError, type CniRequest, type CniResult } from '../../cni/protocol.ts';
import { gatewayOf, macOf, prefixOf } from '../../net/pod-network.ts';
import { AddressPool } from '../pods/address-pool.ts';
import type { PodNetwork } from '../pods/network.ts';
import { differenceOf, isDeviceThere } from '../pods/ports.ts';
import { type Attachment, Attachments, attachmentKey } from './attachments.ts';
import {
  addressWanted,
  bandwidthOf,
  type CniTarget,
  checkConfig,
  macWanted,
  portMappingsOf,
  targetOf,
  withoutPrefix,
} from './requests.ts';

/** How long ADD waits for the pod's object: its policies are not known before. */
const POD_MS = 5000;
const POD_POLL_MS = 10;

/** What the plugin works with. */
export interface CniPluginOptions {
  readonly network: Pick<PodNetwork, 'attach' | 'detach'>;
  readonly podCIDR: string;
  /** File with the containers that are connected. */
  readonly file: string;
  readonly podOf: (namespace: string, name: string) => Pod | undefined;
  /** Why no container can be connected; undefined if it can. */
  readonly obstacle: () => string | undefined;
  /** Containers with port mappings have come or gone. */
  readonly onPorts: () => void;
  readonly log: (line: string) => void;
}

/** Namespace of containers that belong to no pod of Kubernetes; not a valid name there. */
const NO_NAMESPACE = 'cni.';

export class CniPlugin {
  private readonly options: CniPluginOptions;
  private readonly attachments: Attachments;
  private readonly pool: AddressPool;
  private last: Promise<unknown> = Promise.resolve();

  /** @throws Error for a damaged file */
  constructor(options: CniPluginOptions) {
    this.options = options;
    this.attachments = new Attachments(options.file);
    this.pool = new AddressPool(options.podCIDR);
  }

  /** Connect again what a previous agent had connected, and forget what has gone meanwhile. */
  async start(): Promise<void> {
    for (const one of this.attachments.all()) {
      if (this.pool.take(one.ip) !== undefined)
        this.options.log(`${labelOf(one)}: its address ${one.ip} is not usable`);
      else if (isDeviceThere(one.netnsPath, one.ifname)) await this.connectAgain(one);
      else {
        this.options.log(`${labelOf(one)}: its network namespace has gone`);
        this.pool.release(one.ip);
        this.attachments.remove(one);
      }
    }
    this.options.onPorts();
  }

  /** A container that cannot be connected stays on the list, where CHECK finds it; the others do not wait for it. */
  private async connectAgain(one: Attachment): Promise<void> {
    try {
      await this.options.network.attach(sandboxOf(one));
    } catch (error) {
      this.options.log(`${labelOf(one)} could not be connected again: ${(error as Error).message}`);
    }
  }

  /** Carry out a call. @returns what is printed, if anything. @throws CniError */
  call(request: CniRequest): Promise<object | undefined> {
    const run = this.last.then(() => this.carryOut(request));
    this.last = run.catch(() => {});
    return run;
  }

  private get noAddress(): string {
    return `no address is left in ${this.options.podCIDR}`;
  }

  /** Objects in the form of Pods for the host ports of containers that have none at the API. */
  podsOfMappings(): Pod[] {
    return this.attachments.all().flatMap((one) => (one.portMappings?.length ? [podOf(one)] : []));
  }

  private async carryOut(request: CniRequest): Promise<object | undefined> {
    checkConfig(request.config);
    const command = request.environment.CNI_COMMAND;
    switch (command) {
      case 'ADD':
        return this.add(request, targetOf(request, true));
      case 'DEL':
        return this.delete(targetOf(request, false));
      case 'CHECK':
        return this.check(request.config, targetOf(request, true));
      case 'GC':
        return this.collect(request.config);
      case 'STATUS':
        return this.status();
      default:
        throw new CniError(
          CniCode.INVALID_ENVIRONMENT,
          `CNI_COMMAND ${JSON.stringify(command)}: expected ADD, DEL, CHECK, GC, STATUS or VERSION`,
        );
    }
  }

  private async add(request: CniRequest, target: CniTarget): Promise<CniResult> {
    const { config } = request;
    const { containerID, ifname, netnsPath } = target;
    if (config.prevResult !== undefined) {
      throw new CniError(
        CniCode.INVALID_CONFIGURATION,
        'dataplane connects the container: it must be the first plugin of the list',
      );
    }
    const hasPod = target.pod !== undefined;
    const portMappings = hasPod ? [] : portMappingsOf(config);
    const bandwidth = hasPod ? undefined : bandwidthOf(config);
    const mac = macWanted(config);
    const wanted = addressWanted(request);
    const before = this.attachments.get(containerID, ifname);
    // A runtime that was killed while it waited for the answer calls again, usually after DEL.
    if (before?.netnsPath === netnsPath && isDeviceThere(netnsPath, ifname))
      return resultOf(request, before, this.options.podCIDR);
    if (before !== undefined) await this.delete(before);
    if (isDeviceThere(netnsPath, ifname)) {
      throw new CniError(CniCode.SET_UP_FAILED, `${netnsPath} has a device ${ifname} already`);
    }
    if (target.pod !== undefined) await this.waitForPod(target.pod.namespace, target.pod.name);
    const ip = this.assign(wanted);
    const attachment: Attachment = {
      network: config.name,
      containerID,
      ifname,
      netnsPath,
      ip,
      namespace: target.pod?.namespace ?? NO_NAMESPACE,
      name: target.pod?.name ?? `${containerID}.${ifname}`,
      ...(portMappings.length > 0 && { portMappings }),
      ...(mac !== undefined && { mac }),
      ...(bandwidth && { bandwidth }),
    };
    try {
      // Written first: after a crash in between, the next agent or GC finds the address and releases it.
      this.attachments.set(attachment);
      await this.options.network.attach(sandboxOf(attachment));
    } catch (error) {
      this.attachments.remove(attachment);
      this.pool.release(ip);
      throw new CniError(
        CniCode.SET_UP_FAILED,
        `${labelOf(attachment)} could not be connected`,
        (error as Error).message,
      );
    }
    if (portMappings.length > 0) this.options.onPorts();
    return resultOf(request, attachment, this.options.podCIDR);
  }

  /**
   * ADD of a pod that the API has not sent yet would either leave it open before its policies are known, or closed to
   * the probes that follow.
   */
  private async waitForPod(namespace: string, name: string): Promise<void> {
    for (let waited = 0; this.options.podOf(namespace, name) === undefined; waited += POD_POLL_MS) {
      if (waited >= POD_MS) {
        throw new CniError(
          CniCode.TRY_AGAIN_LATER,
          `pod ${namespace}/${name} is not known at the API as a pod of this node`,
        );
      }
      await sleep(POD_POLL_MS);
    }
  }

  private assign(wanted: string | undefined): string {
    if (wanted === undefined) {
      const ip = this.pool.assign();
      if (ip === undefined) throw new CniError(CniCode.EXHAUSTED, this.noAddress);
      return ip;
    }
    const why = this.pool.take(wanted);
    if (why !== undefined) throw new CniError(CniCode.INVALID_CONFIGURATION, `ips: ${why}`);
    return wanted;
  }

  private async delete({ containerID, ifname }: Pick<CniTarget, 'containerID' | 'ifname'>): Promise<undefined> {
    const one = this.attachments.get(containerID, ifname);
    // Succeeds for what is not there (SPEC.md, "DEL").
    if (one === undefined) return;
    this.attachments.remove(one);
    // A pod's sandbox may have been made anew before the former one is deleted: the pod is connected by the new one.
    if (this.attachments.ofPod(one.namespace, one.name) === undefined) await this.options.network.detach(one);
    this.pool.release(one.ip);
    if (one.portMappings !== undefined) this.options.onPorts();
  }

  private async check(config: CniConfig, { containerID, ifname, netnsPath }: CniTarget): Promise<undefined> {
    const changed = (what: string): CniError => new CniError(CniCode.CHANGED, what);
    const { prevResult } = config;
    if (prevResult === undefined) throw new CniError(CniCode.INVALID_CONFIGURATION, 'CHECK needs prevResult');
    const one = this.attachments.get(containerID, ifname);
    if (one === undefined) {
      throw new CniError(CniCode.UNKNOWN_CONTAINER, `container ${containerID} has not been connected by ${ifname}`);
    }
    const prefix = prefixOf(this.options.podCIDR);
    const difference = differenceOf({ netnsPath, device: ifname, ip: one.ip, prefix, mac: macAddressOf(one) });
    if (difference !== undefined) throw changed(`${netnsPath}: ${difference}`);
    const addresses = (prevResult.ips ?? []).map(({ address }) => withoutPrefix(address));
    if (!addresses.includes(one.ip))
      throw changed(`the address is ${one.ip}, prevResult has ${addresses.join(', ') || 'none'}`);
  }

  /** Remove everything that the runtime does not list (SPEC.md, "GC"). */
  private async collect(config: CniConfig): Promise<undefined> {
    const listed = config['cni.dev/valid-attachments'];
    if (!Array.isArray(listed)) {
      throw new CniError(CniCode.INVALID_CONFIGURATION, 'GC needs cni.dev/valid-attachments');
    }
    const valid = new Set(listed.map(attachmentKey));
    for (const one of this.attachments.all()) {
      if (one.network !== config.name || valid.has(attachmentKey(one))) continue;
      this.options.log(`${labelOf(one)}: removed, the runtime does not know it any more`);
      await this.delete(one);
    }
  }

  private async status(): Promise<undefined> {
    const why = this.options.obstacle();
    if (why !== undefined) throw new CniError(CniCode.LIMITED_CONNECTIVITY, why);
    if (this.pool.isExhausted) throw new CniError(CniCode.NOT_AVAILABLE, this.noAddress);
  }
}

const labelOf = ({ namespace, name, containerID }: Attachment): string =>
  namespace === NO_NAMESPACE ? `container ${containerID}` : `pod ${namespace}/${name}`;

const macAddressOf = ({ ip, mac = macOf(ip) }: Attachment): string => mac;

const sandboxOf = ({ namespace, name, ip, mac, netnsPath, ifname, bandwidth }: Attachment) => ({
  namespace,
  name,
  podIP: ip,
  mac,
  netnsPath,
  device: ifname,
  bandwidth,
});

/** The result in the version of the configuration (SPEC.md, "Success"; before 1.0.0 an address names its family). */
function resultOf({ config, assigned }: CniRequest, one: Attachment, podCIDR: string): CniResult {
  const { cniVersion } = config;
  const old = cniVersion.startsWith('0.');
  const gateway = gatewayOf(podCIDR);
  const address = `${one.ip}/${prefixOf(podCIDR)}`;
  return {
    cniVersion,
    interfaces: [{ name: one.ifname, mac: macAddressOf(one), sandbox: one.netnsPath }],
    ips: [{ ...(old && { version: '4' }), address, gateway, interface: 0 }],
    routes: [{ dst: '0.0.0.0/0', gw: gateway }],
    dns: assigned?.dns ?? config.dns ?? {},
  };
}

/** Host ports are compiled from Pods. */
function podOf(attachment: Attachment): Pod {
  const { name, ip, portMappings = [] } = attachment;
  const ports = portMappings.map(({ hostPort, containerPort, protocol, hostIP }) => ({
    hostPort,
    containerPort,
    ...(protocol !== undefined && { protocol: protocol as 'TCP' | 'UDP' | 'SCTP' }),
    ...(hostIP !== undefined && { hostIP }),
  }));
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: NO_NAMESPACE, uid: attachmentKey(attachment) },
    spec: { containers: [{ name, image: '', ports }] },
    status: { podIP: ip, phase: 'Running' },
  } as unknown as Pod;
}
