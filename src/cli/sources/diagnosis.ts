/**
 * What is in the way of a connection: every check between two ends, in order, for `why`; and for `trace`, those that only
 * read, so that a trace names causes that no table has: names, listeners, devices.
 */
import { PROTOCOL_TCP } from '../../../native-free-dataplane/protocols.ts';
import { internalIpOf } from '../../api/node-identity.ts';
import type { EndpointSlice, Pod, Service, ServicePort } from '../../api/types/objects.ts';
import type { Place } from '../../cluster/network-namespaces.ts';
import type { PolicyObjects } from '../../observe/policy/explain.ts';
import type { NamedObjects } from '../../observe/trace/names.ts';
import { type Check, fail, pass } from '../../observe/why/check.ts';
import type { Target } from '../args/target.ts';
import { usageError } from '../errors.ts';
import { withClient } from '../with-client.ts';

export interface DiagnosisOptions {
  /** Look names up, and connect; otherwise nothing is sent. */
  readonly sends: boolean;
}

/** The checks between two ends. Later ones are left out where an earlier one leaves nothing to check. */
export async function diagnose(
  from: Place,
  to: Target,
  namespace: string,
  options: DiagnosisOptions,
): Promise<readonly Check[]> {
  return new Diagnosis(await readObjects(), namespace, options).of(from, to);
}

interface Objects extends NamedObjects, Omit<PolicyObjects, 'nodes'> {
  readonly slices: readonly EndpointSlice[];
}

function readObjects(): Promise<Objects> {
  return withClient(async (client) => {
    const { listClusterObjects } = await import('../../api/client/cluster-objects.ts');
    const objects = await listClusterObjects(client);
    return {
      ...objects,
      namespaces: new Map(objects.namespaces.map(({ metadata }) => [metadata.name, metadata.labels ?? {}])),
    };
  });
}

class Diagnosis {
  private readonly checks: Check[] = [];
  private readonly objects: Objects;
  private readonly namespace: string;
  private readonly sends: boolean;

  constructor(objects: Objects, namespace: string, { sends }: DiagnosisOptions) {
    this.objects = objects;
    this.namespace = namespace;
    this.sends = sends;
  }

  async of(from: Place, to: Target): Promise<readonly Check[]> {
    const { checks } = this;
    if (await this.sender(from)) {
      const end = await this.receiver(from, to);
      if (end !== undefined) await this.between(from, end);
    }
    return checks;
  }

  /** @returns false if there is no such sender */
  private async sender(from: Place): Promise<boolean> {
    const { checks, objects } = this;
    const { checkNode, checkPod } = await import('../../observe/why/pod-checks.ts');
    if (from.kind === 'outside') return true;
    if (from.kind === 'node') {
      const node = checkNode(objects.nodes, from.name);
      checks.push(...(node.length > 0 ? node : [fail('node', `there is no node ${from.name}`)]));
      return node.length > 0;
    }
    const pod = this.pod(from.name, from.namespace);
    const found = checkPod(pod, from.name, from.namespace);
    checks.push(found);
    if (!found.ok || pod === undefined) return false;
    const { checkAddress } = await import('./why.ts');
    checks.push(...checkNode(objects.nodes, pod.spec.nodeName), ...(await checkAddress(pod, from)));
    return true;
  }

  private pod(name: string, namespace: string): Pod | undefined {
    return this.objects.pods.find(({ metadata }) => metadata.name === name && metadata.namespace === namespace);
  }

  /** Address and port of the packets, and the pods that they can end at. Undefined if a check has failed for good. */
  private async receiver(from: Place, to: Target): Promise<Receiver | undefined> {
    const { checks, objects, namespace } = this;
    if (to.kind === 'svc') return this.service(to.name, namespace, to.port);
    if (to.kind === 'name') return this.named(from, to);
    if (to.kind === 'pod') {
      const { checkPod } = await import('../../observe/why/pod-checks.ts');
      const pod = this.pod(to.name, namespace);
      const found = checkPod(pod, to.name, namespace);
      checks.push(found);
      if (!found.ok || pod === undefined) return undefined;
      const declared = pod.spec.containers.flatMap(({ ports = [] }) => ports).find(({ name }) => name === to.port);
      return this.plain(pod.status!.podIP!, declared ? String(declared.containerPort) : to.port, [pod]);
    }
    if (to.kind === 'node') {
      const ip = internalIpOf(objects.nodes.find(({ metadata }) => metadata.name === to.name));
      if (ip !== undefined) return this.plain(ip, to.port, []);
      checks.push(fail('node', `there is no node ${to.name}`));
      return undefined;
    }
    return this.plain(to.name, to.port, []);
  }

  /** An address: a Service's, a NodePort of a node, a pod's, or another. */
  private async plain(ip: string, text: string | undefined, pods: readonly Pod[]): Promise<Receiver | undefined> {
    const port = Number(text);
    if (!(port >= 1 && port <= 65535)) throw usageError('TO needs a port', 'such as svc/web:80');
    const { services, nodes } = this.objects;
    const isNode = nodes.some(({ status }) => status?.addresses?.some(({ address }) => address === ip));
    const has = ({ port: own, nodePort }: ServicePort, isOwn: boolean) =>
      isOwn ? own === port : isNode && nodePort === port;
    for (const service of services) {
      const isOwn = service.spec.clusterIPs?.includes(ip) ?? service.spec.clusterIP === ip;
      const found = service.spec.ports?.find((one) => (one.protocol ?? 'TCP') === 'TCP' && has(one, isOwn));
      if (found !== undefined) return this.endpoints(service, found, { ip, port });
    }
    if (isNode && port >= 30_000) this.checks.push(pass('service', `no service has NodePort ${port}`));
    const own = this.objects.pods.filter(({ status, spec }) => status?.podIP === ip && !spec.hostNetwork);
    return { ip, port, pods: pods.length > 0 ? pods : own, podPort: port };
  }

  private async service(name: string, namespace: string, port: string | undefined): Promise<Receiver | undefined> {
    const { findPort, findService } = await import('../../observe/why/service-checks.ts');
    const { service, check } = findService(this.objects.services, name, namespace);
    this.checks.push(check);
    if (service === undefined) return undefined;
    const found = findPort(service, port, 'TCP');
    this.checks.push(found.check);
    if (found.port === undefined) return undefined;
    const { clusterIP } = service.spec;
    const ip = clusterIP && clusterIP !== 'None' ? clusterIP : undefined;
    return this.endpoints(service, found.port, { ip, port: found.port.port });
  }

  /** A name as a pod would use it: looked up for real, and compared with the Services where it has no address. */
  private async named(from: Place, to: Target): Promise<Receiver | undefined> {
    const [name = '', namespace = this.namespace] = to.name.split('.');
    if (from.kind !== 'pod') return this.service(name, namespace, to.port);
    const { findService } = await import('../../observe/why/service-checks.ts');
    if (!this.sends) {
      const { service, check } = findService(this.objects.services, name, namespace);
      if (service !== undefined) return this.service(name, namespace, to.port);
      this.checks.push(fail('name', `${to.name} is not a name: ${check.text}`));
      return undefined;
    }
    const { resolveName } = await import('./why.ts');
    const { ip, check } = await resolveName(to.name, from);
    const { service, check: found } = findService(this.objects.services, name, namespace);
    if (ip === undefined && service === undefined)
      this.checks.push(fail('name', `${to.name} is not a name: ${found.text}`));
    else this.checks.push(check);
    if (ip === undefined) return undefined;
    return service === undefined ? this.plain(ip, to.port, []) : this.service(name, namespace, to.port);
  }

  private async endpoints(
    service: Service,
    port: ServicePort,
    { ip, port: number }: { ip: string | undefined; port: number },
  ): Promise<Receiver | undefined> {
    const [{ checkEndpoints }, { slicesOfService }] = await Promise.all([
      import('../../observe/why/service-checks.ts'),
      import('../../api/service-slices.ts'),
    ]);
    const { slices, pods } = this.objects;
    const check = checkEndpoints(service, port, slices, pods);
    this.checks.push(check);
    if (!check.ok) return undefined;
    const own = slicesOfService(service, slices);
    const addresses = new Set(own.flatMap(({ endpoints }) => endpoints.flatMap((endpoint) => endpoint.addresses)));
    const podPort = own.flatMap(({ ports = [] }) => ports).find((one) => (one.name ?? '') === (port.name ?? ''))?.port;
    const behind = pods.filter(({ status }) => status?.podIP !== undefined && addresses.has(status.podIP));
    // A headless Service leads to its pods directly.
    const first = behind[0]?.status?.podIP;
    const address = ip ?? first;
    if (address === undefined) return undefined;
    return {
      ip: address,
      port: ip === undefined ? (podPort ?? number) : number,
      pods: behind,
      podPort: podPort ?? number,
    };
  }

  private async between(from: Place, { ip, port, pods, podPort }: Receiver): Promise<void> {
    const { checks, objects } = this;
    const [{ checkNode }, source] = await Promise.all([import('../../observe/why/pod-checks.ts'), import('./why.ts')]);
    for (const node of new Set(pods.map(({ spec }) => spec.nodeName))) {
      for (const check of checkNode(objects.nodes, node))
        if (!checks.some(({ text }) => text === check.text)) checks.push(check);
    }
    const listening = this.sends ? source.checkListening : source.checkListeners;
    for (const pod of pods) {
      const place: Place = { kind: 'pod', name: pod.metadata.name, namespace: pod.metadata.namespace ?? 'default' };
      checks.push(...(await source.checkAddress(pod, place)), ...(await listening(pod, place, podPort)));
    }
    const involved = [from.kind === 'pod' ? this.pod(from.name, from.namespace) : undefined, ...pods];
    const nodes = new Set(involved.flatMap((pod) => pod?.spec.nodeName ?? []));
    checks.push(...(await source.checkTables(nodes)), ...(await this.policies(from, pods, podPort)));
    if (from.kind !== 'outside' && (await this.isOutside(ip))) checks.push(...(await source.checkWayOut(ip)));
    checks.push(...(await this.walk(from, ip, port)));
    if (this.sends) checks.push(...(await source.checkAttempt(from, ip, port)));
  }

  /** Is an address neither a node's nor in a network of the cluster? */
  private async isOutside(ip: string): Promise<boolean> {
    const [{ readClusterFile }, { contains, parseCidr, parseIp }] = await Promise.all([
      import('../../cluster/state.ts'),
      import('../../net/address.ts'),
    ]);
    const { podCidr, serviceCidr, underlayCidr } = readClusterFile()!.options;
    const address = parseIp(ip);
    const inside = [podCidr, serviceCidr, underlayCidr].some((text) => {
      const network = parseCidr(text);
      return network !== undefined && address !== undefined && contains(network, address);
    });
    return address !== undefined && !inside;
  }

  private async policies(from: Place, pods: readonly Pod[], port: number): Promise<Check[]> {
    const [{ explainPolicies, isolatingPolicies, ruleName }, { policyAddressOf, policyNode, policyPod }] =
      await Promise.all([
        import('../../observe/policy/explain.ts'),
        import('../../compile/policies/policy-objects.ts'),
      ]);
    if (this.objects.policies.length === 0 || from.kind === 'node') return [];
    const endOf = (pod: Pod) => {
      const address = policyAddressOf(pod);
      if (address === undefined) return undefined;
      return { text: `pod ${pod.metadata.namespace}/${pod.metadata.name}`, ip: address, pod: policyPod(pod, address) };
    };
    const sender = from.kind === 'pod' ? endOf(this.pod(from.name, from.namespace)!) : undefined;
    const { outsideAddress } = await import('./trace.ts');
    const outside = { text: outsideAddress(), ip: outsideAddress(), pod: undefined };
    const checks = pods.flatMap((pod) => {
      const to = endOf(pod);
      if (to === undefined) return [];
      const { verdict, directions, wouldDiffer } = explainPolicies(
        { from: sender ?? outside, to, protocol: PROTOCOL_TCP, port },
        { ...this.objects, nodes: this.objects.nodes.map(policyNode) },
      );
      if (verdict === 'allowed') return [pass('policies', `to ${to.text} they allow TCP ${port}`)];
      const denied = directions.find(({ allowed }) => !allowed)!;
      const [decider] = denied.decidedBy;
      const isolating = isolatingPolicies(denied).map(({ name }) => name);
      const names = decider ? ruleName(decider.policy, decider.rule) : `NetworkPolicy ${isolating.join(', ')}`;
      return [fail('policies', `${names} denies ${denied.direction} of ${denied.subject}: ${wouldDiffer[0]}`)];
    });
    return checks;
  }

  /** The packet's way through copies of the nodes' tables, and then that of the largest packet that the sender makes. */
  private async walk(from: Place, ip: string, port: number): Promise<Check[]> {
    const [{ walkLive }, { packetCheck }, { readLosses }] = await Promise.all([
      import('./trace.ts'),
      import('../../observe/why/packet-check.ts'),
      import('./node-kernels.ts'),
    ]);
    const lossAt = await readLosses();
    const name = from.kind === 'outside' ? '' : from.name;
    const namespace = from.kind === 'pod' ? from.namespace : this.namespace;
    const ends = {
      from: { kind: from.kind, name, port: undefined },
      to: { kind: 'ip', name: ip, port: String(port) },
      namespace,
    } as const;
    const check = (payloadBytes: number): Check | undefined => {
      const walk = walkLive(this.objects, (resolver) => resolver.packet({ ...ends, payloadBytes }), { lossAt });
      return walk && packetCheck(walk);
    };
    const first = check(0);
    if (first === undefined) return [];
    if (!first.ok || from.kind !== 'pod') return [first];
    const { deviceMtu } = await import('./why.ts');
    const mtu = await deviceMtu(from);
    if (mtu === undefined) return [first];
    const largest = check(mtu - HEADERS);
    return [
      first,
      ...(largest === undefined || largest.ok
        ? []
        : [fail('mtu', `eth0 of pod ${name} has MTU ${mtu}, and a packet of that size: ${largest.text}`)]),
    ];
  }
}

/** IPv4 and TCP headers without options. */
const HEADERS = 40;

interface Receiver {
  readonly ip: string;
  readonly port: number;
  /** Pods that the packet can end at; none for other addresses. */
  readonly pods: readonly Pod[];
  /** The port in the pods. */
  readonly podPort: number;
}
