/**
 * What a person does about a verdict: where to look when its counter rises. docs/drops.md is made from this and from
 * verdicts.ts; a test holds that every verdict has a line here.
 */
import { VERDICT_TEXTS, Verdict } from '../verdicts.ts';

type Name = keyof typeof Verdict;

const NOTHING = 'Nothing: this is traffic on its way.';
const SENDER = 'A broken or hostile sender. Capture at the pod it comes from; other traffic is not affected.';
const FORGED = 'A pod forges addresses, or changed its own. Find it by the port that counts; nothing else is affected.';
const DAMAGED =
  'Damaged on the way. Look for a faulty device or a tunnel that rewrites packets; capture on both sides.';
const PROBING = 'Harmless now and then; many of them are a scan or a test tool.';
const ANSWER_LIMIT =
  'Its answering twin counts those who were told; this one rises when more than 1000 a second would be.';

const ADVICE: Readonly<Partial<Record<Name, string>>> = {
  SENT: NOTHING,
  TO_HOST: NOTHING,
  ENCAPSULATED: NOTHING,
  ROUTED_TO_NODE: NOTHING,
  ARP_ANSWERED: NOTHING,
  PING_ANSWERED: NOTHING,
  REJECTED_TCP_RESET:
    'The service has no ready endpoint, or no such port: `dataplane describe service NAME`, then the readiness of its pods.',
  REJECTED_PORT_UNREACHABLE:
    'As rejected-tcp-reset, for UDP and SCTP: look at the endpoints of the service and the readiness of its pods.',
  REJECTED_PROHIBITED: 'As snat-exhausted; the sender was told.',
  TTL_EXCEEDED: 'Traceroute does this on purpose. Otherwise a loop: compare the routes of the two nodes.',
  FRAGMENTATION_NEEDED:
    'Path MTU discovery at work. When a connection hangs with it, something between drops ICMP: allow type 3 code 4.',
  NO_ROUTE_ANSWERED:
    'An address of the pod network that no pod has: a client keeps the address of a pod that is gone, or a node is missing.',
  FRAGMENT_HELD: 'Fragments arrive out of order; they are sent as soon as the first is there.',
  ENDPOINT_GONE: 'A pod went away under its connections. Expected with a restart or a rollout; clients reconnect.',
  FRAME_TRUNCATED: SENDER,
  SOURCE_MAC_INVALID: SENDER,
  DESTINATION_MAC_FOREIGN:
    'A stale neighbour entry in the pod, or frames for somebody else: `ip neigh flush dev eth0` in the pod.',
  ETHERTYPE_UNKNOWN: 'LLDP, STP and the like: harmless. Otherwise a protocol that Kubernetes networks do not carry.',
  VLAN_TAGGED: 'A VLAN device inside a pod: pods have one untagged network.',
  ARP_MALFORMED: SENDER,
  ARP_UNKNOWN_TARGET: 'A pod asks for a neighbour that is gone, or announces its own address: harmless.',
  ARP_REPLY_IGNORED: 'Gratuitous ARP from a pod: harmless, and without effect. Virtual addresses in pods do not work.',
  ARP_SPOOFED: FORGED,
  IPV4_TRUNCATED: SENDER,
  IPV4_VERSION: SENDER,
  IPV4_HEADER_LENGTH: SENDER,
  IPV4_TOTAL_LENGTH: SENDER,
  IPV4_CHECKSUM: DAMAGED,
  IPV4_MARTIAN_SOURCE: FORGED,
  IPV4_MARTIAN_DESTINATION: SENDER,
  IPV4_SOURCE_ROUTE: 'Nobody needs source routes; turn them off at the sender.',
  IPV6_NOT_FORWARDED:
    'Mostly neighbour discovery that a pod sends unasked: harmless. Applications must use IPv4 in this cluster.',
  SPOOFED_SOURCE_IP: FORGED,
  SPOOFED_SOURCE_MAC: FORGED,
  MULTICAST:
    'mDNS, DHCP and discovery protocols of pods: harmless. An application that needs multicast cannot run here.',
  TCP_TRUNCATED: SENDER,
  TCP_HEADER_LENGTH: SENDER,
  TCP_FLAGS: PROBING,
  UDP_TRUNCATED: SENDER,
  UDP_LENGTH: SENDER,
  ICMP_TRUNCATED: SENDER,
  PORT_ZERO: PROBING,
  FRAGMENT_OVERLAP:
    'An attack on reassembly, or a broken sender. The whole datagram is lost, as every current stack does.',
  FRAGMENT_DUPLICATE: 'The underlay duplicates packets; harmless in small numbers.',
  FRAGMENT_TINY: 'An attempt to hide ports from filters: find the sender.',
  FRAGMENT_TOO_LONG: 'An attack on reassembly (ping of death): find the sender.',
  FRAGMENT_TABLE_FULL:
    'More than 1024 datagrams in fragments at once: a flood, or large UDP. Use smaller datagrams or TCP.',
  FRAGMENT_TIMEOUT:
    'First fragments are lost: look for drops on the way, or for an MTU that is too small on the underlay.',
  VXLAN_TRUNCATED: DAMAGED,
  VXLAN_FLAGS: 'Another VXLAN dialect (GPE, GBP) on our port: take another port, `dataplane up --vxlan-port`.',
  VXLAN_VNI: 'Another overlay on the same port: take another port, `dataplane up --vxlan-port`.',
  VXLAN_UNKNOWN_PEER:
    'A node that this one does not know yet (settles within seconds), or a stranger: `dataplane get nodes -o wide`.',
  VXLAN_INNER_SOURCE:
    'Two nodes claim one pod network, or a node forges: compare podCIDRs with `dataplane get nodes -o wide`.',
  VXLAN_INNER_FRAME:
    'A node sends frames to another VTEP than ours: after a node was replaced it settles within seconds.',
  VXLAN_CHECKSUM: DAMAGED,
  IPIP_UNKNOWN_PEER: 'As vxlan-unknown-peer.',
  IPIP_INNER_SOURCE: 'As vxlan-inner-source.',
  OVERLAY_FROM_POD: 'A pod tries to speak as a node. Between pods tunnels are allowed; to nodes they are not.',
  CONNTRACK_INVALID:
    'A few after restarts are normal (packets of connections forgotten). Many: traffic that goes one way past this node, or a scan.',
  CONNTRACK_FULL:
    'Raise the size of the table, or find who holds so many: `dataplane conntrack count`, then list by source.',
  SNAT_EXHAUSTED:
    'More than 16384 connections to one destination from behind this node: spread over nodes or destinations.',
  ICMP_ERROR_UNRELATED: 'Late errors about connections that ended: harmless. Many: forged errors.',
  ICMP_ERROR_MALFORMED: SENDER,
  ICMP_REDIRECT: 'Somebody tries to change a route of a pod. There is one router, and it is right: find the sender.',
  NO_SUCH_SERVICE: 'A client uses the address of a service that was deleted: `dataplane get services -A`.',
  SOURCE_RANGE: 'The client is not in loadBalancerSourceRanges of the service: extend the list if it should be.',
  LOCAL_POLICY_DROP: 'Send to a node that has an endpoint, or change the traffic policy to Cluster.',
  PORT_NOT_DECLARED:
    'Declare the port in the container (`ports: - containerPort: N`), or bring the cluster up with `--port-policy open`.',
  NO_ROUTE: 'As no-route-answered, without an answer.',
  PORT_DOWN: 'The pod is just coming or going. If it lasts: `dataplane status`, then the log of the agent.',
  TTL_EXCEEDED_SILENT: ANSWER_LIMIT,
  TOO_BIG_SILENT: ANSWER_LIMIT,
  NO_ENDPOINT_SILENT: ANSWER_LIMIT,
  WRITE_FAILED: 'The kernel refused a frame: a fault of ours. Please report it with a capture.',
  WRITE_QUEUE_FULL:
    'The pod does not read fast enough: its CPU is busy. TCP slows down by itself; UDP loses datagrams.',
  SEGMENTATION_FAILED:
    'A super-packet whose header contradicts itself; a raw-socket sender, or a fault of ours: capture it.',
  NOT_FOR_US:
    "Answers to connections that are over, or a route to dp0 that should not be there: `ip route` in the node's namespace.",
  OFFLOAD_INVALID:
    'A raw-socket sender with a wrong offload header. From an ordinary program it is a fault of ours: capture it.',
  LOOPBACK_FROM_NETWORK: 'An attempt to reach a service on 127.0.0.1 from elsewhere (CVE-2020-8558): find the sender.',
};

const names = Object.keys(Verdict) as Name[];

/** What to do when a verdict's counter rises; empty when there is no such verdict. */
export function verdictAdvice(verdict: number): string {
  const name = names.find((each) => Verdict[each] === verdict);
  return (name && ADVICE[name]) ?? '';
}

const CHAPTERS: readonly [kind: string, title: string, text: string][] = [
  ['dropped', 'Dropped', 'Nobody gets the packet and nobody is told.'],
  ['answered', 'Answered here', 'The packet ends here and its sender gets an answer.'],
  ['held', 'Held', 'The packet waits for another.'],
  ['sent', 'Sent on', 'The packet goes on its way.'],
];

/** docs/drops.md: every verdict with its meaning, its reason and what to do. */
export function verdictsAsMarkdown(): string {
  const lines = [
    '# What becomes of a packet',
    '',
    'Every frame that a node receives ends in exactly one verdict, and each verdict has a counter: see them with',
    '`dataplane status` (drops by reason, per worker with `-o json`). This page is made by `npm run docs` from',
    '[`verdicts.ts`](../native-free-dataplane/verdicts.ts); a test holds that both agree.',
  ];
  for (const [kind, title, text] of CHAPTERS) {
    lines.push(
      '',
      `## ${title}`,
      '',
      text,
      '',
      '| counter | what happened | because of | what to do |',
      '| --- | --- | --- | --- |',
    );
    const rows = VERDICT_TEXTS.flatMap((verdict, number) =>
      verdict?.class === kind
        ? [`| \`${verdict.name}\` | ${verdict.sentence} | ${verdict.source} | ${verdictAdvice(number)} |`]
        : [],
    );
    lines.push(...rows.sort());
  }
  return `${lines.join('\n')}\n`;
}
