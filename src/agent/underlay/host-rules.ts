/**
 * Which packets of the node come to dp0, as policy routing rules: overlay packets, NodePorts, answers to masqueraded
 * connections, fragments. Data only; host-network.ts puts them in place.
 */
import { PROTOCOL_ICMP, SERVICE_PROTOCOLS } from '../../../native-free-dataplane/protocols.ts';
import { LAST_RULE_PORT, LOCAL_TABLE, type Rule } from '../../linux/rules.ts';
import { NODE_OVERLAYS } from '../overlay/overlay.ts';
import type { HostNetworkOptions } from './host-options.ts';
import { HOST_DEVICE, Preference, TO_DP0_TABLE } from './rule-order.ts';

/** IP protocols with ports that services may use. */
const WITH_PORTS: readonly number[] = Object.values(SERVICE_PROTOCOLS);

/** The kernel's own first rule, which would take what is ours before our rules are asked. */
export const LOCAL_FIRST: Rule = { preference: 0, action: { table: LOCAL_TABLE } };

/** The rules that bring to dp0 what is ours. */
export function wantedRules(options: HostNetworkOptions): Rule[] {
  const { nodeIP, underlayDevice: from, nodePortRange, masqueradePorts } = options;
  const toUs = { preference: Preference.TO_DP0, action: { table: TO_DP0_TABLE } };
  const own = { ...toUs, from, to: nodeIP };
  return [
    { preference: Preference.FROM_DP0, from: HOST_DEVICE, action: { table: LOCAL_TABLE } },
    ...NODE_OVERLAYS[options.overlay].hostRules(options),
    // NodePorts are open on the node's address and, for the node itself, on loopback; nowhere else: the same ports
    // of other machines are theirs.
    ...WITH_PORTS.flatMap((protocol) =>
      [nodeIP, '127.0.0.0/8'].map((to) => ({ ...toUs, to, protocol, ports: nodePortRange })),
    ),
    ...WITH_PORTS.map((protocol) => ({ ...own, protocol, ports: masqueradePorts })),
    { ...own, protocol: PROTOCOL_ICMP },
    // A fragment has no ports for a rule to see, so fragments for the node all come to us: what has ports jumps over
    // the rules that take what has none. Fragments of no connection of ours are handed back.
    { preference: Preference.HAS_PORTS, from, ports: [1, LAST_RULE_PORT], action: { goto: Preference.GO_ON } },
    ...WITH_PORTS.map((protocol) => ({ ...own, preference: Preference.FRAGMENTS, protocol })),
    { preference: Preference.GO_ON, action: 'nop' },
    { preference: Preference.LOCAL, action: { table: LOCAL_TABLE } },
  ];
}
