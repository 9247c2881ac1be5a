/**
 * The numbers of the node's policy routing that are ours: dp0's name, the routing tables, and the order of the rules. What
 * the rules match is in host-rules.ts, and for the overlays in ../overlay/.
 */
export const HOST_DEVICE = 'dp0';

/** Routing table that leads to dp0. */
export const TO_DP0_TABLE = 100;
/** Routing table for what dp0 hands to the kernel: the other nodes' pods, where the kernel routes between nodes. */
export const NODES_TABLE = 101;

/** Preferences: the kernel asks rules in ascending order. */
export const Preference = {
  FROM_DP0: 5,
  TO_NODES: 6,
  TO_DP0: 7,
  TO_NODE: 8,
  ELSEWHERE: 9,
  OWN_ICMP: 10,
  NODE_PORTS: 11,
  OWN_OUTPUT: 12,
  MASQUERADED: 13,
  HAS_PORTS: 14,
  FRAGMENTS: 15,
  LOCAL: 100,
} as const;
