/** Whose connection was refused for want of a source port: the pod that opened it, the Service that it was for. */
import { type Conntrack, StateWord } from '../../../native-free-dataplane/conntrack/record.ts';
import { SERVICE_PROTOCOLS } from '../../../native-free-dataplane/protocols.ts';
import { formatIpv4 } from '../../../native-free-dataplane/wire/address.ts';
import type { Pod, Service } from '../../api/types/objects.ts';
import { WellKnown } from '../../api/types/objects.ts';

/** A refused connection, as its client opened it. */
export interface Refused {
  readonly source: string;
  readonly target: string;
  readonly protocol: number;
  readonly port: number;
}

/** The last connection that was refused. Workers store its words one by one, so they may be those of two. */
export function lastRefused({ state }: Conntrack): Refused {
  const port = state[StateWord.REFUSED_PORT]!;
  return {
    source: formatIpv4(state[StateWord.REFUSED_SOURCE]!),
    target: formatIpv4(state[StateWord.REFUSED_TARGET]!),
    protocol: port >>> 16,
    port: port & 0xffff,
  };
}

/**
 * The objects concerned, none if it was neither opened by a pod of this node nor for a Service.
 * @param pods of this node
 */
export function objectsOf(refused: Refused, pods: Iterable<Pod>, services: Iterable<Service>): (Pod | Service)[] {
  return [...[...pods].filter((pod) => ipOfPod(pod) === refused.source), ...servicesOf(refused, services)];
}

/** The address of a pod of this node: known to it before the API has it. */
export function ipOfPod({ metadata, status }: Pod): string | undefined {
  return metadata.annotations?.[WellKnown.POD_IP] ?? status?.podIP;
}

/** The Services that the connection was for. */
export function servicesOf(refused: Refused, services: Iterable<Service>): Service[] {
  return [...services].filter((service) => isFor(refused, service));
}

function isFor({ target, protocol, port }: Refused, { spec, status }: Service): boolean {
  const ingress = status?.loadBalancer?.ingress?.map(({ ip }) => ip) ?? [];
  const isAddress = [spec.clusterIP, ...(spec.externalIPs ?? []), ...ingress].includes(target);
  return (spec.ports ?? []).some(
    (own) =>
      SERVICE_PROTOCOLS[own.protocol ?? 'TCP'] === protocol &&
      (own.nodePort === port || (isAddress && own.port === port)),
  );
}
