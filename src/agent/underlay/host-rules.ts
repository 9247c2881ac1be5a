/**
 * Which packets of the node come to dp0, as policy routing rules: overlay packets, NodePorts, answers to masqueraded
 * connections, fragments. Data only; host-network.ts puts them in place.
 */
import {
  PROTOCOL_ICMP,
  PROTOCOL_IPIP,
  PROTOCOL_UDP,
  SERVICE_PROTOCOLS,
} from '../../../native-free-dataplane/protocols.ts';
import { LAST_RULE_PORT, LOCAL_TABLE, type Rule } from '../../linux/rules.ts';
import { gatewayOf } from '../../net/pod-network.ts';
import type { HostNetworkOptions } from './host-network.ts';

export const HOST_DEVICE = 'dp0';
/** Routing table that leads to dp0, and the preferences of our rules. */
export const TABLE = 100;
/** Routing table for what dp0 hands to the kernel: the other nodes' pods, without an overlay (host-gw). */
export const NODES_TABLE = 101;
const PREF_FROM_US = 5;
const PREF_TO_NODES = 6;
const PREF_TO_US = 10;
const PREF_HAS_PORTS = 11;
const PREF_FRAGMENTS = 12;
const PREF_GO_ON = 13;
const PREF_LOCAL = 100;
/** IP protocols with ports that services may use. */
const WITH_PORTS: readonly number[] = Object.values(SERVICE_PROTOCOLS);

/** The kernel's own first rule, which would take what is ours before our rules are asked. */
export const LOCAL_FIRST: Rule = { preference: 0, action: { table: LOCAL_TABLE } };

/** The rules that bring to dp0 what is ours. */
export function wantedRules(options: HostNetworkOptions): Rule[] {
  const { nodeIP, underlayDevice: from, vxlanPort, nodePortRange, masqueradePorts, overlay, ipipTransport } = options;
  const toUs = { preference: PREF_TO_US, action: { table: TABLE } };
  const own = { ...toUs, from, to: nodeIP };
  return [
    { preference: PREF_FROM_US, from: HOST_DEVICE, action: { table: LOCAL_TABLE } },
    ...(overlay === 'vxlan' ? [{ ...own, protocol: PROTOCOL_UDP, ports: [vxlanPort, vxlanPort] as const }] : []),
    ...(overlay === 'ipip' && ipipTransport === 'dp0' ? [{ ...own, protocol: PROTOCOL_IPIP }] : []),
    // Without an overlay the kernel routes between nodes: what we hand to it for another node's pods, and answers to our
    // gateway's address, which hides whoever came by a NodePort.
    ...(overlay === 'host-gw'
      ? [
          { preference: PREF_TO_NODES, from: HOST_DEVICE, action: { table: NODES_TABLE } },
          { ...toUs, from, to: gatewayOf(options.podCIDR) },
        ]
      : []),
    // NodePorts are open on the node's address and, for the node itself, on loopback; nowhere else: the same ports
    // of other machines are theirs.
    ...WITH_PORTS.flatMap((protocol) =>
      [nodeIP, '127.0.0.0/8'].map((to) => ({ ...toUs, to, protocol, ports: nodePortRange })),
    ),
    ...WITH_PORTS.map((protocol) => ({ ...own, protocol, ports: masqueradePorts })),
    { ...own, protocol: PROTOCOL_ICMP },
    // A fragment has no ports for a rule to see, so fragments for the node all come to us: what has ports jumps over
    // the rules that take what has none. Fragments of no connection of ours are handed back.
    { preference: PREF_HAS_PORTS, from, ports: [1, LAST_RULE_PORT], action: { goto: PREF_GO_ON } },
    ...WITH_PORTS.map((protocol) => ({ ...own, preference: PREF_FRAGMENTS, protocol })),
    { preference: PREF_GO_ON, action: 'nop' },
    { preference: PREF_LOCAL, action: { table: LOCAL_TABLE } },
  ];
}
