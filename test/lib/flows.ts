/** Objects and connection events for tests of flows. */
import type { DroppedPacket, DropText } from '../../native-free-dataplane/print/drop.ts';
import type { FlowText } from '../../native-free-dataplane/print/flow.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../../native-free-dataplane/protocols.ts';
import type { NetworkPolicy } from '../../src/api/types/network-policy.ts';
import type { NodeObject, Pod, Service } from '../../src/api/types/objects.ts';
import { FlowAddresses } from '../../src/observe/flows/addresses.ts';
import { FlowMaker } from '../../src/observe/flows/flows.ts';
import type { MessageEvent } from '../../src/observe/flows/layer7.ts';
import { FlowPolicies } from '../../src/observe/flows/policies.ts';
import type { DnsMessage } from '../../src/observe/layer7/dns.ts';
import type { SeenMessage } from '../../src/observe/layer7/messages.ts';

export const TIME = '2026-11-08T13:04:05.120Z';

const pod = (namespace: string, name: string, podIP: string, nodeName: string, app: string): Pod =>
  ({
    metadata: { namespace, name, labels: { app } },
    spec: { nodeName, containers: [] },
    status: { podIP },
  }) as unknown as Pod;

/** Two nodes; clients on n1 and n2, `web` on n2 behind the Service shop/web. */
export function addresses(): FlowAddresses {
  const known = new FlowAddresses();
  known.setPod(pod('default', 'client', '10.244.1.2', 'n1', 'client'));
  known.setPod(pod('default', 'client-2', '10.244.2.3', 'n2', 'client'));
  known.setPod(pod('shop', 'web-7d4b9', '10.244.2.2', 'n2', 'web'));
  for (const [name, address] of [
    ['n1', '172.18.0.11'],
    ['n2', '172.18.0.12'],
  ]) {
    known.setNode({ metadata: { name }, status: { addresses: [{ type: 'InternalIP', address }] } } as NodeObject);
  }
  const spec = { clusterIP: '10.96.4.1', ports: [{ port: 80, nodePort: 31418 }] };
  known.setService({ metadata: { namespace: 'shop', name: 'web' }, spec } as Service);
  return known;
}

/** A maker of flows in a cluster with these policies. */
export function maker(...policies: readonly NetworkPolicy[]): FlowMaker {
  const known = addresses();
  const own = new FlowPolicies(known.policyPod);
  for (const policy of policies) own.setPolicy(policy);
  return new FlowMaker({ addresses: known, policies: own }, '0.1.0', ['n1', 'n2']);
}

/** The first packet of client's connection to the Service shop/web. */
export const DROPPED_SYN: DroppedPacket = {
  protocol: 6,
  src: '10.244.1.2',
  srcPort: 40000,
  dst: '10.96.4.1',
  dstPort: 80,
  tcpFlags: 2,
  icmpType: 0,
  icmpCode: 0,
  rule: 0,
  endpoint: undefined,
  reply: undefined,
};

/** A packet that a node received from one of its pods, and did not forward. */
export const dropOf = (verdict: number, packet?: DroppedPacket): DropText => ({
  verdict,
  timeMs: 0,
  inPort: 1,
  tunnelled: false,
  lostAt: undefined,
  bytes: 74,
  packet,
});

/** A TCP connection of client to the Service shop/web; DNAT to its pod. */
export const TO_WEB: FlowText = {
  protocol: 6,
  state: 'SYN_SENT',
  timeoutSeconds: 60,
  original: { src: '10.244.1.2', srcPort: 40000, dst: '10.96.4.1', dstPort: 80 },
  reply: { src: '10.244.2.2', srcPort: 8080, dst: '10.244.1.2', dstPort: 40000 },
  packets: [1, 0],
  bytes: [60, 0],
  status: ['CONFIRMED', 'DST_NAT'],
};

/** A connection of client to a host outside, masqueraded by its node. */
export const TO_OUTSIDE: FlowText = {
  ...TO_WEB,
  original: { src: '10.244.1.2', srcPort: 40001, dst: '192.0.2.7', dstPort: 443 },
  reply: { src: '192.0.2.7', srcPort: 443, dst: '172.18.0.11', dstPort: 61001 },
};

const DNS: DnsMessage = {
  kind: 'dns',
  isReply: false,
  id: 7,
  name: 'www.example.com.',
  type: 'A',
  rcode: 0,
  addresses: [],
  aliases: [],
  ttl: 0,
  answerTypes: [],
};
const DNS_ENDS = {
  protocol: PROTOCOL_UDP,
  client: { ip: '10.244.1.2', port: 40000 },
  server: { ip: '172.18.0.11', port: 53 },
  asked: { ip: '10.96.0.10', port: 53 },
};

/** client asks the name server of its node for www.example.com. */
export const DNS_QUERY: SeenMessage = { ...DNS_ENDS, message: DNS, timeMs: 1000 };
export const DNS_ANSWER: SeenMessage = {
  ...DNS_ENDS,
  message: {
    ...DNS,
    isReply: true,
    addresses: ['192.0.2.7'],
    aliases: ['www.example.net.'],
    ttl: 30,
    answerTypes: ['CNAME', 'A'],
  },
  timeMs: 1002.5,
};
export const NO_SUCH_NAME: SeenMessage = {
  ...DNS_ENDS,
  message: { ...DNS, isReply: true, id: 8, name: 'none.shop.svc.cluster.local.', rcode: 3 },
  timeMs: 1003,
};

const HTTP_ENDS = {
  protocol: PROTOCOL_TCP,
  client: { ip: '10.244.1.2', port: 40000 },
  server: { ip: '10.244.2.2', port: 8080 },
  asked: { ip: '10.96.4.1', port: 80 },
};

/** client asks the Service shop/web for a page. */
export const HTTP_REQUEST: SeenMessage = {
  ...HTTP_ENDS,
  message: { kind: 'http', isReply: false, method: 'GET', url: 'http://shop/cart?id=1', version: 'HTTP/1.1' },
  timeMs: 2000,
};
export const HTTP_RESPONSE: SeenMessage = {
  ...HTTP_ENDS,
  message: { kind: 'http', isReply: true, code: 204, version: 'HTTP/1.1' },
  timeMs: 2012.5,
};

export const messageOf = (node: string, seen: SeenMessage): MessageEvent => ({ node, kind: 'MESSAGE', seen });
