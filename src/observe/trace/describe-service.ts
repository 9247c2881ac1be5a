/**
 * Describes the look-up of a service: the Service, or a pod's hostPort, that the packet is addressed to, the endpoint,
 * and how that was chosen.
 */
import { NodeWord } from '../../../native-free-dataplane/node/config.ts';
import { hasNodePorts } from '../../../native-free-dataplane/node/host-routes.ts';
import { protocolName } from '../../../native-free-dataplane/protocols.ts';
import {
  type EndpointView,
  type ServicePortView,
  viewHostPort,
  viewService,
} from '../../../native-free-dataplane/services/inspect.ts';
import { Verdict } from '../../../native-free-dataplane/verdicts.ts';
import { formatAddress } from '../../../native-free-dataplane/wire/address.ts';
import { type Asked, type Call, callNamed, type Described } from './asked.ts';

/** The service port that a packet is addressed to; undefined if there is none. */
export function serviceAsked({ pkt, dp }: Pick<Asked, 'pkt' | 'dp'>): ServicePortView | undefined {
  const { config } = dp.node;
  const byAddress = viewService(dp.services, pkt.protocol, pkt.dstPort, pkt.dst);
  if (byAddress !== undefined) return byAddress;
  const inRange = pkt.dstPort >= config[NodeWord.NODE_PORT_LOW]! && pkt.dstPort <= config[NodeWord.NODE_PORT_HIGH]!;
  return inRange ? viewService(dp.services, pkt.protocol, pkt.dstPort) : undefined;
}

/** The hostPort that a packet is addressed to, unless a Service has that address and port. */
function hostPortAsked({ pkt, dp }: Asked): ServicePortView | undefined {
  return hasNodePorts(dp.node, pkt.dst) ? viewHostPort(dp.services, pkt.protocol, pkt.dstPort, pkt.dst) : undefined;
}

/** The set from which the endpoint was chosen: those on this node, or all. */
function setOf(view: ServicePortView, call: Call): readonly EndpointView[] {
  return callNamed(call, 'pickEndpoint')?.args[5] === true ? view.local : view.cluster;
}

function choice(view: ServicePortView, call: Call, count: number): string {
  if (count === 1) return 'the only endpoint';
  if (callNamed(call, 'maglevChoice') !== undefined) return `by Maglev hashing over ${count} endpoints`;
  if (view.affinitySeconds === 0) return `at random of ${count} endpoints`;
  const remembered = callNamed(call, 'affinityEndpoint')?.result !== 0;
  return remembered
    ? `by session affinity: this client was sent there before (${count} endpoints)`
    : `by session affinity: this client keeps it for ${view.affinitySeconds} s (${count} endpoints)`;
}

function describeHostPort({ pkt, names }: Asked): Described {
  const pod = names.address(formatAddress(pkt.newDst));
  const endpoint = `${formatAddress(pkt.newDst)}:${pkt.newDstPort}`;
  const asked = `${formatAddress(pkt.dst)}:${pkt.dstPort}/${protocolName(pkt.protocol).toUpperCase()}`;
  const text = [`hostPort ${pkt.dstPort} of ${pod}, ${asked}`, `endpoint ${endpoint}, the pod itself`];
  if (pkt.masquerade !== 0) text.push('masquerade: the source becomes an address of this node');
  const row = { text, hostPort: pkt.dstPort, pod, endpoint, masquerade: pkt.masquerade !== 0 };
  return { stage: 'service', table: 'services', row };
}

export function describeService(asked: Asked): Described | undefined {
  const { call, pkt, names } = asked;
  const stage = 'service';
  const view = serviceAsked(asked);
  const address = formatAddress(pkt.dst);
  const protocol = protocolName(pkt.protocol).toUpperCase();
  if (view === undefined && pkt.dnat !== 0 && hostPortAsked(asked) !== undefined) return describeHostPort(asked);
  if (view === undefined) {
    if (call.result !== Verdict.GO_ON) return { stage, table: 'services' };
    const text = [`${address}:${pkt.dstPort}/${protocol} is not the address of a Service: no translation`];
    return { stage, table: 'services', row: { text } };
  }
  const service = names.service(address, pkt.protocol, pkt.dstPort);
  const text = [`Service ${service}, ${address}:${pkt.dstPort}/${protocol}`];
  const ready = { endpoints: view.cluster.length, endpointsOnNode: view.local.length };
  if (pkt.dnat === 0) {
    text.push(`${view.cluster.length} endpoints, ${view.local.length} on this node`);
    return { stage, table: 'services', row: { text, service, ...ready } };
  }
  const target = formatAddress(pkt.newDst);
  const chosen = choice(view, call, setOf(view, call).length);
  text.push(`endpoint ${target}:${pkt.newDstPort} (${names.address(target)}), ${chosen}`);
  if (pkt.masquerade !== 0) text.push('masquerade: the source becomes an address of this node');
  return {
    stage,
    table: 'services',
    row: { text, service, endpoint: `${target}:${pkt.newDstPort}`, chosen, masquerade: pkt.masquerade !== 0, ...ready },
  };
}
