/**
 * IP protocol numbers and their names, defined once for packets, tables, the API and the CLI.
 *
 * Source: IANA, "Assigned Internet Protocol Numbers".
 */
export const PROTOCOL_ICMP = 1;
export const PROTOCOL_IPIP = 4;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
/** IPv6 inside IPv4 (RFC 4213 §3). */
export const PROTOCOL_IPV6 = 41;
export const PROTOCOL_GRE = 47;
export const PROTOCOL_ICMPV6 = 58;
export const PROTOCOL_SCTP = 132;
export const PROTOCOL_DCCP = 33;
export const PROTOCOL_ESP = 50;
export const PROTOCOL_AH = 51;
export const PROTOCOL_L2TP = 115;
export const PROTOCOL_UDPLITE = 136;

/** UDP port of VXLAN by IANA (RFC 7348 §5). */
export const VXLAN_PORT = 4789;
/** What Linux and flannel used before IANA assigned one (linux: vxlan_port). */
export const VXLAN_PORT_LINUX = 8472;
/** Other tunnels over UDP: Generic UDP Encapsulation, Geneve (RFC 8926), VXLAN-GPE. */
const GUE_PORT = 6080;
const GENEVE_PORT = 6081;
const VXLAN_GPE_PORT = 4790;

/** Do nodes of some cluster network tunnel to this UDP port? */
export function isTunnelPort(port: number): boolean {
  return (
    port === VXLAN_PORT ||
    port === VXLAN_PORT_LINUX ||
    port === GENEVE_PORT ||
    port === GUE_PORT ||
    port === VXLAN_GPE_PORT
  );
}

/** Do nodes of some cluster network tunnel by this IP protocol? */
export function isTunnelProtocol(protocol: number): boolean {
  return protocol === PROTOCOL_IPIP || protocol === PROTOCOL_IPV6 || protocol === PROTOCOL_GRE;
}

/** Protocols of a Service's ports, as the Kubernetes API spells them (core/v1 Protocol). */
export const SERVICE_PROTOCOLS: Readonly<Record<string, number>> = {
  TCP: PROTOCOL_TCP,
  UDP: PROTOCOL_UDP,
  SCTP: PROTOCOL_SCTP,
};

/** Names as in tcpdump and /etc/protocols. Protocols without a constant above are only printed. */
const NAMES: Readonly<Record<number, string>> = {
  [PROTOCOL_ICMP]: 'icmp',
  2: 'igmp',
  [PROTOCOL_IPIP]: 'ipip',
  [PROTOCOL_TCP]: 'tcp',
  [PROTOCOL_UDP]: 'udp',
  [PROTOCOL_DCCP]: 'dccp',
  [PROTOCOL_IPV6]: 'sit',
  [PROTOCOL_GRE]: 'gre',
  [PROTOCOL_ESP]: 'esp',
  [PROTOCOL_AH]: 'ah',
  [PROTOCOL_ICMPV6]: 'icmp6',
  89: 'ospf',
  112: 'vrrp',
  [PROTOCOL_SCTP]: 'sctp',
  [PROTOCOL_L2TP]: 'l2tp',
  [PROTOCOL_UDPLITE]: 'udplite',
};

/** Name of a protocol: `tcp`, `udp`, …; `protocol-N` for a number that is not in the list. */
export function protocolName(protocol: number): string {
  return NAMES[protocol] ?? `protocol-${protocol}`;
}

/** RFC 2131 §4.1. */
export const DHCP_SERVER_PORT = 67;
export const DHCP_CLIENT_PORT = 68;
