/**
 * The policy routing rules that send packets to dp0: overlay packets, NodePorts, host ports, replies to masqueraded
 * connections, fragments. Data only; host-network.ts installs them.
 */
import { PRIVILEGED_PORTS } from '../../../native-free-dataplane/node/config.ts';
import {
  PROTOCOL_AH,
  PROTOCOL_DCCP,
  PROTOCOL_ESP,
  PROTOCOL_ICMP,
  PROTOCOL_L2TP,
  PROTOCOL_UDPLITE,
  SERVICE_PROTOCOLS,
} from '../../../native-free-dataplane/protocols.ts';
import { LAST_RULE_PORT, LOCAL_TABLE, type Rule } from '../../linux/rules.ts';
import { gatewayOf } from '../../net/pod-network.ts';
import { overlayRules } from '../overlay/node-overlay.ts';
import type { HostNetworkOptions, RoutedPort } from './host-options.ts';
import { HOST_DEVICE, NODES_TABLE, Preference, TO_DP0_TABLE } from './rule-order.ts';

/**
 * Other protocols by which pods reach the outside; GRE and IPIP are not forwarded (native-free-dataplane/stages/guard.ts).
 * The kernel matches no ports in them, or takes an SPI for ports. dp0 returns packets that belong to none of its flows. A
 * rule without a protocol would not do: it also matches the look-up for a received ARP request, which the node would then
 * not answer.
 */
export const ROUTED_WHOLE: readonly number[] = [
  PROTOCOL_DCCP,
  PROTOCOL_ESP,
  PROTOCOL_AH,
  PROTOCOL_L2TP,
  PROTOCOL_UDPLITE,
];

/** IP protocols with ports that services may use. */
const WITH_PORTS: readonly number[] = Object.values(SERVICE_PROTOCOLS);

export const LOOPBACK = '127.0.0.0/8';
/** Source of a socket's packet before the route has given it one. */
const UNBOUND = '0.0.0.0';

/** The kernel's default rule for local addresses. It is removed, because it would match before ours. */
export const LOCAL_FIRST: Rule = { preference: 0, action: { table: LOCAL_TABLE } };

/** Addresses that the rules depend on, in addition to the node's configuration. */
export interface HostAddresses {
  /** Addresses of the node's devices, including the node's IP but not those of loopback and dp0. */
  readonly local: readonly string[];
  /** External and load-balancer addresses of services. */
  readonly services: ReadonlySet<string>;
  /** Ports of pods on addresses of the node. */
  readonly hostPorts: readonly RoutedPort[];
}

/**
 * The rules that send packets to dp0. Each address of the node adds two rules, and one more if a service has it too;
 * each run of host ports adds one.
 */
export function wantedRules(options: HostNetworkOptions, { local, services, hostPorts }: HostAddresses): Rule[] {
  const { nodePortRange, masqueradePorts } = options;
  const toDp0 = { table: TO_DP0_TABLE };
  const goOn = { goto: Preference.LOCAL };
  const node = { preference: Preference.TO_NODE };
  return [
    { preference: Preference.FROM_DP0, from: HOST_DEVICE, action: { table: LOCAL_TABLE } },
    ...overlayRules(options),
    // A service address that is also on a device (kube-vip, MetalLB) would be delivered by the kernel's local table.
    ...local.filter((to) => services.has(to)).map((to) => ({ preference: Preference.TO_DP0, to, action: toDp0 })),
    // All rules below are for packets to an address of the node, whatever device they arrive on.
    ...local.map((to) => ({ ...node, to, action: { goto: Preference.OWN_ICMP } })),
    { ...node, to: LOOPBACK, action: { goto: Preference.NODE_PORTS } },
    { preference: Preference.ELSEWHERE, action: goOn },
    // The kernel's ICMP errors about masqueraded packets, which it sends to an address of the node.
    { preference: Preference.OWN_ICMP, from: 'lo', protocol: PROTOCOL_ICMP, action: toDp0 },
    // NodePorts are open on the node's addresses and, for the node itself, on loopback.
    ...WITH_PORTS.map((protocol) => ({
      preference: Preference.NODE_PORTS,
      protocol,
      ports: nodePortRange,
      action: toDp0,
    })),
    ...portRuns(hostPorts).map(({ ports, protocol, address }) => ({
      preference: Preference.HOST_PORTS,
      ...(address !== undefined && { to: address }),
      protocol,
      ports,
      action: toDp0,
    })),
    ...[UNBOUND, LOOPBACK, gatewayOf(options.podCIDR), ...local].map((source) => ({
      preference: Preference.OWN_OUTPUT,
      from: 'lo',
      source,
      action: goOn,
    })),
    // What the kernel sends in the name of another host is the reset of a firewall that rejects a masqueraded connection
    // (linux nf_reject_ipv4.c nf_send_reset). It is routed without its protocol and ports.
    { preference: Preference.REJECTED, from: 'lo', action: toDp0 },
    ...WITH_PORTS.flatMap((protocol) =>
      [PRIVILEGED_PORTS, masqueradePorts].map((ports) => ({
        preference: Preference.MASQUERADED,
        protocol,
        ports,
        action: toDp0,
      })),
    ),
    { preference: Preference.MASQUERADED, protocol: PROTOCOL_ICMP, action: toDp0 },
    ...ROUTED_WHOLE.map((protocol) => ({ preference: Preference.MASQUERADED, protocol, action: toDp0 })),
    // The kernel does not match a fragment's ports, so all fragments for the node go to dp0, which returns those that
    // belong to none of its flows. Packets with ports skip the rules for fragments.
    { preference: Preference.HAS_PORTS, ports: [1, LAST_RULE_PORT], action: goOn },
    ...WITH_PORTS.map((protocol) => ({ preference: Preference.FRAGMENTS, protocol, action: toDp0 })),
    { preference: Preference.LOCAL, action: { table: LOCAL_TABLE } },
  ];
}

/** Consecutive ports with the same address and protocol. */
export interface PortRun extends Omit<RoutedPort, 'port'> {
  readonly ports: readonly [first: number, last: number];
}

/** Combines ports into as few runs as possible. */
export function portRuns(all: readonly RoutedPort[]): PortRun[] {
  const runs: PortRun[] = [];
  const text = ({ protocol, address = '' }: Omit<RoutedPort, 'port'>): string => `${protocol} ${address}`;
  const order = (a: RoutedPort, b: RoutedPort): number =>
    text(a) === text(b) ? a.port - b.port : text(a) < text(b) ? -1 : 1;
  for (const { port, ...rest } of [...all].sort(order)) {
    const last = runs.at(-1);
    if (last !== undefined && text(last) === text(rest) && port - last.ports[1] <= 1) {
      runs[runs.length - 1] = { ...last, ports: [last.ports[0], port] };
    } else runs.push({ ...rest, ports: [port, port] });
  }
  return runs;
}

/** Was this rule added by this agent or a previous one? */
export function isOurs({ preference, from, action }: Rule): boolean {
  if (!(Object.values(Preference) as number[]).includes(preference)) return false;
  if (action === 'nop') return true;
  if ('goto' in action) return action.goto <= Preference.LOCAL;
  const { table } = action;
  if (table === LOCAL_TABLE) return preference === Preference.LOCAL || from === HOST_DEVICE;
  return [TO_DP0_TABLE, NODES_TABLE].includes(table);
}
