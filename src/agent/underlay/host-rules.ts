/**
 * Which packets of the node come to dp0, as policy routing rules: overlay packets, NodePorts, answers to masqueraded
 * connections, fragments. Data only; host-network.ts puts them in place.
 */
import { PRIVILEGED_PORTS } from '../../../native-free-dataplane/node/config.ts';
import { PROTOCOL_ICMP, SERVICE_PROTOCOLS } from '../../../native-free-dataplane/protocols.ts';
import { LAST_RULE_PORT, LOCAL_TABLE, type Rule } from '../../linux/rules.ts';
import { NODE_OVERLAYS } from '../overlay/overlay.ts';
import type { HostNetworkOptions } from './host-options.ts';
import { HOST_DEVICE, NODES_TABLE, Preference, TO_DP0_TABLE } from './rule-order.ts';

/** IP protocols with ports that services may use. */
const WITH_PORTS: readonly number[] = Object.values(SERVICE_PROTOCOLS);

export const LOOPBACK = '127.0.0.0/8';

/** The kernel's own first rule, which would take what is ours before our rules are asked. */
export const LOCAL_FIRST: Rule = { preference: 0, action: { table: LOCAL_TABLE } };

/** What the rules depend on beside the node's configuration. */
export interface HostAddresses {
  /** Addresses of the node's devices but loopback's and dp0's, the node's own among them. */
  readonly local: readonly string[];
  /** External and load-balancer addresses of services. */
  readonly services: ReadonlySet<string>;
}

/** The rules that bring to dp0 what is ours. Their number grows by one with each address of the node, not more. */
export function wantedRules(options: HostNetworkOptions, { local, services }: HostAddresses): Rule[] {
  const { nodePortRange, masqueradePorts } = options;
  const toDp0 = { table: TO_DP0_TABLE };
  const goOn = { goto: Preference.LOCAL };
  const node = { preference: Preference.TO_NODE };
  return [
    { preference: Preference.FROM_DP0, from: HOST_DEVICE, action: { table: LOCAL_TABLE } },
    ...NODE_OVERLAYS[options.overlay].hostRules(options),
    // A service's address that is on a device as well (kube-vip, MetalLB): the kernel's local table would take it.
    ...local.filter((to) => services.has(to)).map((to) => ({ preference: Preference.TO_DP0, to, action: toDp0 })),
    // All the rules below are for what is sent to an address of the node, by whatever device it comes in.
    ...local.map((to) => ({ ...node, to, action: { goto: Preference.OWN_ICMP } })),
    { ...node, to: LOOPBACK, action: { goto: Preference.NODE_PORTS } },
    { preference: Preference.ELSEWHERE, action: goOn },
    // The kernel's own ICMP errors about masqueraded packets: they have an address of the node as their source.
    { preference: Preference.OWN_ICMP, from: 'lo', protocol: PROTOCOL_ICMP, action: toDp0 },
    // NodePorts are open on the node's addresses and, for the node itself, on loopback; nowhere else: the same ports
    // of other machines are theirs.
    ...WITH_PORTS.map((protocol) => ({
      preference: Preference.NODE_PORTS,
      protocol,
      ports: nodePortRange,
      action: toDp0,
    })),
    { preference: Preference.OWN_OUTPUT, from: 'lo', action: goOn },
    ...WITH_PORTS.flatMap((protocol) =>
      [PRIVILEGED_PORTS, masqueradePorts].map((ports) => ({
        preference: Preference.MASQUERADED,
        protocol,
        ports,
        action: toDp0,
      })),
    ),
    { preference: Preference.MASQUERADED, protocol: PROTOCOL_ICMP, action: toDp0 },
    // A fragment has no ports for a rule to see, so fragments for the node all come to us: what has ports jumps over
    // the rules that take what has none. Fragments of no connection of ours are handed back.
    { preference: Preference.HAS_PORTS, ports: [1, LAST_RULE_PORT], action: goOn },
    ...WITH_PORTS.map((protocol) => ({ preference: Preference.FRAGMENTS, protocol, action: toDp0 })),
    { preference: Preference.LOCAL, action: { table: LOCAL_TABLE } },
  ];
}

/** Is a rule that is present one that this or a former agent of ours made? */
export function isOurs({ preference, action }: Rule): boolean {
  if (!(Object.values(Preference) as number[]).includes(preference)) return false;
  if (action === 'nop') return true;
  return 'goto' in action ? action.goto <= Preference.LOCAL : [TO_DP0_TABLE, NODES_TABLE].includes(action.table);
}
