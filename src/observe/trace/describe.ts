/**
 * Describes what a stage read, with the names of Kubernetes objects: one function for each function of the pipeline
 * that is a step, by its name. It is called right after that function has returned, with the tables in that state.
 */
import { HopWord, NodeWord, PortPolicy } from '../../../native-free-dataplane/node/config.ts';
import { hopAt } from '../../../native-free-dataplane/node/hops.ts';
import { printPacket } from '../../../native-free-dataplane/print/frame.ts';
import { protocolName } from '../../../native-free-dataplane/protocols.ts';
import { Verdict } from '../../../native-free-dataplane/verdicts.ts';
import { formatAddress, formatMac } from '../../../native-free-dataplane/wire/address.ts';
import { hopLimit } from '../../../native-free-dataplane/wire/ip.ts';
import type { Asked, Described } from './asked.ts';
import { describeFlow } from './describe-flow.ts';
import { describeNetworkPolicy } from './describe-policy.ts';
import { describeHop, describeRoute } from './describe-route.ts';
import { describeService } from './describe-service.ts';

/**
 * `passes`: the function is not a step itself, but functions that it calls can be. Undefined: there is no description.
 */
type Description = ((asked: Asked) => Described | undefined) | 'passes';

function guard({ pkt, dp, names }: Asked): Described {
  const stage = 'guard';
  if (pkt.inPort === 0) {
    const how = pkt.tunnelled !== 0 ? 'out of the overlay' : 'from dp0';
    return { stage, row: { text: [`${how}: source ${names.address(formatAddress(pkt.src))}`] } };
  }
  const { hops } = dp.node;
  const at = hopAt(pkt.inPort);
  const address = formatAddress(hops, at + HopWord.ADDRESS);
  const mac = formatMac(hops[at + HopWord.MAC_HIGH]!, hops[at + HopWord.MAC_LOW]!);
  const text = [`port ${pkt.inPort} belongs to ${names.address(address)}: ${address}, ${mac}`];
  return { stage, table: 'hops', row: { text, port: pkt.inPort, address, mac } };
}

function decapsulate({ pkt, dp, names }: Asked): Described {
  const address = formatAddress(dp.node.hops, hopAt(pkt.tunnelNode) + HopWord.ADDRESS);
  if (pkt.tunnelled === 0) return { stage: 'decapsulate' };
  const text = [`from ${names.address(address)} (${address}), hop ${pkt.tunnelNode}`];
  return { stage: 'decapsulate', table: 'hops', row: { text, hop: pkt.tunnelNode, address } };
}

function mayLeave({ call, pkt, dp, names }: Asked): Described {
  const hop = call.args[2] as number;
  const mtu = dp.node.hops[hopAt(hop) + HopWord.MTU]!;
  const ttl = hopLimit(pkt.view, pkt.l3);
  const bytes = pkt.end - pkt.l3;
  const room = hop === 0 || mtu === 0 ? `${bytes} bytes` : `${bytes} bytes of at most ${mtu}`;
  const { node } = describeHop(dp, hop, names);
  const text = [`TTL ${ttl}, ${room}, to ${node}`];
  return { stage: 'ttl, mtu', table: 'hops', row: { text, hop, mtu, ttl, bytes } };
}

function checkPolicy({ call, pkt, dp, names }: Asked): Described {
  const stage = 'policy';
  if (dp.node.config[NodeWord.PORT_POLICY] !== PortPolicy.DECLARED) {
    return { stage, row: { text: ['port policy open: every port accepts connections'] } };
  }
  const port = pkt.dnat ? pkt.newDstPort : pkt.dstPort;
  const protocol = protocolName(pkt.protocol).toUpperCase();
  const target = names.address(formatAddress(pkt.dnat ? pkt.newDst : pkt.dst));
  const asked = call.calls.find(({ name }) => name === 'portDeclared');
  if (asked === undefined) return { stage, row: { text: ['only pods declare ports'] } };
  const declared = asked.result === true;
  const text = [`${target} ${declared ? 'declares' : 'does not declare'} ${port}/${protocol}`];
  return { stage, table: 'declared ports', row: { text, port, protocol, declared } };
}

function sendOne({ call, dp, names, done }: Asked): Described {
  const hop = call.args[2] as number;
  const { node, kind, address } = describeHop(dp, hop, names);
  const row = { text: [`to ${node}`], hop, kind, address };
  // A reply made here has no Ethernet header before, so there is nothing to compare.
  const made = done.has('answerReset') || done.has('answerIcmpError');
  return { stage: 'send', table: 'hops', row, ...(made && { replaced: true }) };
}

/** A reply made here; its Ethernet header is written when it is sent. */
function answer({ pkt, call }: Asked): Described | undefined {
  if (call.result === false) return undefined;
  return { stage: 'answer', row: { text: [printPacket(pkt.view, pkt.l3, pkt.end, true)] }, replaced: true };
}

export const DESCRIPTIONS: Readonly<Record<string, Description>> = {
  transmit: 'passes',
  parseFrame: ({ pkt, call }) => ({
    stage: 'parse',
    ...(call.result === Verdict.GO_ON && { row: { text: [printPacket(pkt.view, pkt.l3, pkt.end, true)] } }),
  }),
  decapsulate,
  guard,
  findFlow: describeFlow,
  chooseService: describeService,
  hopForAddress: describeRoute,
  hopOfFlow: describeRoute,
  mayLeave,
  checkPolicy,
  checkNetworkPolicy: describeNetworkPolicy,
  checkFlowPolicy: describeNetworkPolicy,
  createFlow: describeFlow,
  trackFlow: describeFlow,
  lowerTtl: () => ({ stage: 'lower ttl' }),
  rewrite: () => ({ stage: 'translate' }),
  answerReset: answer,
  answerIcmpError: answer,
  answerEcho: answer,
  sendOne,
};
