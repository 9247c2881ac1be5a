/** Describes routes and hops: the route of an address, and the device or node of a hop. */
import type { Dataplane } from '../../../native-free-dataplane/dataplane.ts';
import {
  HopWord,
  inNetwork,
  type NodeTable,
  NodeWord,
  ROUTE_WORDS,
  RouteWord,
} from '../../../native-free-dataplane/node/config.ts';
import {
  DENIED_EGRESS,
  DENIED_INGRESS,
  HOST_HOP,
  HopKind,
  hopAt,
  hopKind,
  NO_HOP,
} from '../../../native-free-dataplane/node/hops.ts';
import { overlayNamed } from '../../../native-free-dataplane/overlay/modes.ts';
import { formatAddress } from '../../../native-free-dataplane/wire/address.ts';
import type { Asked, Described } from './asked.ts';
import type { StepNames } from './names.ts';

/** Length of the prefix of IPv4-mapped addresses (::ffff:0:0/96). */
const IPV4_PREFIX = 96;

/** The device or node of a hop. `node` is a description of it. */
export function describeHop(
  dp: Dataplane,
  hop: number,
  names: StepNames,
): { node: string; kind: string; address: string } {
  const { config, hops } = dp.node;
  if (hop === HOST_HOP) return { node: "the node's kernel (dp0)", kind: 'host', address: '' };
  const address = formatAddress(hops, hopAt(hop) + HopWord.ADDRESS);
  if (hopKind(dp.node, hop) === HopKind.LOCAL)
    return { node: "the node's own sockets (dp0)", kind: 'local', address: '' };
  if (hopKind(dp.node, hop) === HopKind.POD)
    return { node: `${names.address(address)} at port ${hop}`, kind: 'pod', address };
  const overlay = overlayNamed(config[NodeWord.OVERLAY]!) ?? 'an overlay that this program does not know';
  return { node: `${names.address(address)} (${address}) by ${overlay}`, kind: 'node', address };
}

/** The longest matching route of an address, such as `10.244.2.0/24`; undefined if there is none. */
function routeOf(table: NodeTable, address: Int32Array): string | undefined {
  const { slots: routes } = table.routes;
  let best = -1;
  for (let at = 0; at < routes.length; at += ROUTE_WORDS) {
    const prefix = routes[at + RouteWord.PREFIX]! - 1;
    const longer = best < 0 || prefix >= routes[best + RouteWord.PREFIX]!;
    if (prefix >= 0 && longer && inNetwork(routes, at, prefix, address)) best = at;
  }
  if (best < 0) return undefined;
  return `${formatAddress(routes, best)}/${routes[best + RouteWord.PREFIX]! - 1 - IPV4_PREFIX}`;
}

/** A look-up of an address, or the hop that is stored in the flow. */
export function describeRoute({ call, pkt, dp, names, done }: Asked): Described | undefined {
  const hop = call.result as number;
  const ofFlow = call.name === 'hopOfFlow';
  // The flow has just been created, and the look-up of its hop is already a step.
  if (ofFlow && done.has('createFlow')) return undefined;
  const asked = ofFlow ? undefined : (call.args[1] as Int32Array);
  const stage = asked === pkt.src ? 'route back' : 'route';
  const target = asked === undefined ? '' : formatAddress(asked);
  if (hop === NO_HOP) {
    const text = [ofFlow ? "the flow's hop is no longer valid" : `no route to ${target}`];
    return { stage, table: 'routes', row: { text, ...(target && { address: target }) } };
  }
  if (hop === DENIED_EGRESS || hop === DENIED_INGRESS) {
    const direction = hop === DENIED_EGRESS ? 'egress' : 'ingress';
    const text = [`the flow is closed: policies deny its ${direction}, as judged when they changed`];
    return { stage, table: 'conntrack', row: { text, denied: direction } };
  }
  const { node, kind, address } = describeHop(dp, hop, names);
  if (asked === undefined) {
    return { stage, table: 'conntrack', row: { text: [`the flow's hop: ${node}`], hop, kind, hopAddress: address } };
  }
  const route = kind === 'host' || kind === 'local' ? undefined : routeOf(dp.node, asked);
  const text = [`${route ?? target} → ${node}`];
  return {
    stage,
    table: 'routes',
    row: { text, address: target, ...(route && { route }), hop, kind, ...(address && { hopAddress: address }) },
  };
}
