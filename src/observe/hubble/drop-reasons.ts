/**
 * Cilium's reasons for a drop, for our verdicts that mean the same. Dashboards, alert rules and Hubble's filters use
 * these names; a verdict that Cilium has no reason for is reported under its own name.
 *
 * Numbers and names: cilium api/v1/flow/flow.proto (DropReason); texts: cilium pkg/monitor/api/drop.go.
 */

export interface CiliumReason {
  readonly number: number;
  /** Value of the enum DropReason. */
  readonly name: string;
  /** As in the label `reason` of cilium_drop_count_total, and in Hubble's column TYPE. */
  readonly text: string;
}

/** Each reason with the names of its verdicts. */
const REASONS: readonly (readonly [number: number, name: string, text: string, verdicts: readonly string[]])[] = [
  [
    132,
    'INVALID_SOURCE_IP',
    'Invalid source ip',
    ['spoofed-source-ip', 'ipv4-martian-source', 'loopback-from-network', 'vxlan-inner-source', 'ipip-inner-source'],
  ],
  [133, 'POLICY_DENIED', 'Policy denied', ['policy-egress', 'policy-ingress']],
  [
    134,
    'INVALID_PACKET_DROPPED',
    'Invalid packet',
    ['frame-truncated', 'ipv4-truncated', 'ipv4-version', 'ipv4-header-length', 'ipv4-total-length', 'offload-invalid'],
  ],
  [
    135,
    'CT_TRUNCATED_OR_INVALID_HEADER',
    'CT: Truncated or invalid header',
    ['tcp-truncated', 'tcp-header-length', 'udp-truncated', 'udp-length', 'icmp-truncated', 'sctp-truncated'],
  ],
  [139, 'UNSUPPORTED_L3_PROTOCOL', 'Unsupported L3 protocol', ['ethertype-unknown', 'ipv6-not-forwarded']],
  [155, 'CT_MAP_INSERTION_FAILED', 'CT: Map insertion failed', ['conntrack-full', 'conntrack-share']],
  [
    158,
    'SERVICE_BACKEND_NOT_FOUND',
    'Service backend not found',
    ['rejected-tcp-reset', 'rejected-port-unreachable', 'no-endpoint-silent', 'local-policy-drop'],
  ],
  [163, 'UNKNOWN_CONNECTION_TRACKING_STATE', 'Unknown connection tracking state', ['conntrack-invalid']],
  [167, 'NO_MAPPING_FOR_NAT_MASQUERADE', 'No mapping for NAT masquerade', ['rejected-prohibited', 'snat-exhausted']],
  [169, 'FIB_LOOKUP_FAILED', 'FIB lookup failed', ['no-route-answered', 'no-route', 'no-route-back']],
  [170, 'ENCAPSULATION_TRAFFIC_IS_PROHIBITED', 'Encapsulation traffic is prohibited', ['overlay-from-pod']],
  [
    175,
    'FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND',
    'First logical datagram fragment not found',
    ['fragment-first-missing'],
  ],
  [177, 'DENIED_BY_LB_SRC_RANGE_CHECK', 'Denied by LB src range check', ['source-range']],
  [182, 'VLAN_FILTERED', 'VLAN traffic disallowed by VLAN filter', ['vlan-tagged']],
  [183, 'INVALID_VNI', 'Incorrect VNI from VTEP', ['vxlan-vni']],
  [196, 'TTL_EXCEEDED', 'TTL exceeded', ['ttl-exceeded', 'ttl-exceeded-silent']],
];

const BY_VERDICT: ReadonlyMap<string, CiliumReason> = new Map(
  REASONS.flatMap(([number, name, text, verdicts]) =>
    verdicts.map((verdict): [string, CiliumReason] => [verdict, { number, name, text }]),
  ),
);

const TEXTS: ReadonlyMap<number, string> = new Map(REASONS.map(([number, , text]) => [number, text]));

/** Text of a reason by its number; undefined if no verdict has it. */
export const reasonText = (number: number): string | undefined => TEXTS.get(number);

/** Names of the verdicts that Cilium has a reason for. */
export const REASONED_VERDICTS: readonly string[] = [...BY_VERDICT.keys()];

/** Cilium's names of these reasons. */
export const CILIUM_REASONS: readonly string[] = REASONS.map(([, name]) => name);

/** Cilium's reason for a verdict; undefined if it has none. */
export function ciliumReason(verdict: string): CiliumReason | undefined {
  return BY_VERDICT.get(verdict);
}
