/**
 * Names and numbers that the data plane uses on the node: dp0 and dp1, the routing tables, and the order of the
 * rules. The rules themselves are in host-rules.ts and, for the overlay, in ../overlay/node-overlay.ts.
 */
export const HOST_DEVICE = 'dp0';
/**
 * Has the overlay's packets, if the shortcut moves them: a queue of their own, so that a flood of NodePort traffic does not
 * fill it. Without the shortcut they arrive through dp0 like everything else.
 */
export const OVERLAY_DEVICE = 'dp1';

/** Routing table with routes to dp0. */
export const TO_DP0_TABLE = 100;
/** Routing table for packets that dp0 hands to the kernel without a tunnel: routes to the pods of other nodes. */
export const NODES_TABLE = 101;

/** Preferences of the rules; the kernel evaluates rules in ascending order. */
export const Preference = {
  FROM_DP0: 5,
  TO_NODES: 6,
  TO_DP0: 7,
  TO_NODE: 8,
  ELSEWHERE: 9,
  OWN_ICMP: 10,
  NODE_PORTS: 11,
  HOST_PORTS: 12,
  OWN_OUTPUT: 13,
  REJECTED: 14,
  MASQUERADED: 15,
  HAS_PORTS: 16,
  FRAGMENTS: 17,
  LOCAL: 100,
} as const;
