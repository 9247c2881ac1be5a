/** For each verdict, what would have to be different for another outcome: sentences that name the objects concerned. */
import { HopWord } from '../../../native-free-dataplane/node/config.ts';
import { declaredPorts } from '../../../native-free-dataplane/node/declared-ports.ts';
import { hopAt } from '../../../native-free-dataplane/node/hops.ts';
import { PROTOCOL_TCP, protocolName } from '../../../native-free-dataplane/protocols.ts';
import { viewFrontends } from '../../../native-free-dataplane/services/inspect.ts';
import { VERDICTS, verdictNamed } from '../../../native-free-dataplane/verdicts.ts';
import { formatAddress, formatMac } from '../../../native-free-dataplane/wire/address.ts';
import type { Ended } from './asked.ts';
import { policyDenies } from './describe-policy.ts';
import { serviceAsked } from './describe-service.ts';
import { printSelector, printServicePort } from './names.ts';

const target = ({ pkt }: Ended): string => `${formatAddress(pkt.dst)}:${pkt.dstPort}`;
const protocolOf = ({ pkt }: Ended): string => protocolName(pkt.protocol).toUpperCase();

/** Why the Service has no endpoint. */
function noEndpoint(ended: Ended): string[] {
  const { pkt, names } = ended;
  const view = serviceAsked(ended);
  const named = names.servicePort(formatAddress(pkt.dst), pkt.protocol, pkt.dstPort);
  if (view === undefined) return [`${target(ended)}/${protocolOf(ended)} would have to be a port of the Service`];
  const service = named === undefined ? `the Service at ${target(ended)}` : `Service ${printServicePort(named)}`;
  if (view.cluster.length > 0) return localOnly(ended, service);
  const selector = printSelector(named?.service.spec.selector ?? {});
  if (named === undefined) return [`${service} has no ready endpoint`];
  if (selector === '') return [`${service} has no ready endpoint: it has no selector, and no EndpointSlice lists one`];
  const selected = names.selected(named.service);
  const matches = `its selector ${selector} matches ${selected.length} ${selected.length === 1 ? 'pod' : 'pods'}`;
  const unready =
    selected.length === 0 ? '' : `, none of them ready: ${selected.map(({ metadata }) => metadata.name).join(', ')}`;
  return [`${service} has no ready endpoint: ${matches}${unready}`];
}

function localOnly(ended: Ended, service: string): string[] {
  const { dst, protocol, dstPort } = ended.pkt;
  const nodes = ended.nodesWithEndpoint(dst, protocol, dstPort);
  const where = nodes.length === 0 ? 'no node of this machine has one' : `there are endpoints on ${nodes.join(', ')}`;
  return [`${service} has traffic policy Local and no endpoint on this node: ${where}`];
}

function noSuchService(ended: Ended): string[] {
  const { pkt, dp, names } = ended;
  const address = formatAddress(pkt.dst);
  const ports = viewFrontends(dp.services)
    .filter((frontend) => formatAddress(frontend.address) === address)
    .map(({ port, protocol }) => `${port}/${protocolName(protocol).toUpperCase()}`);
  if (ports.length === 0) return [`${address} would have to be the address of a Service: no Service has it`];
  return [`${names.address(address)} has the ports ${ports.join(', ')}, not ${pkt.dstPort}/${protocolOf(ended)}`];
}

function portNotDeclared(ended: Ended): string[] {
  const { pkt, dp, names, steps } = ended;
  const row = (stage: string) => steps.find((step) => step.stage === stage)?.row;
  const address = formatAddress(pkt.dnat !== 0 ? pkt.newDst : pkt.dst);
  const declared = declaredPorts(dp.node, Number(row('route')?.hop ?? 0)).map(
    ({ port, protocol }) => `${port}/${protocolName(protocol).toUpperCase()}`,
  );
  const all = declared.length === 0 ? 'no port' : declared.sort().join(', ');
  return [
    `${names.address(address)} declares ${all}, not ${row('policy')?.port ?? pkt.dstPort}/${protocolOf(ended)}`,
    'with port policy open, every port accepts connections',
  ];
}

function spoofed({ pkt, dp, names }: Ended): string[] {
  if (pkt.inPort === 0)
    return [`${formatAddress(pkt.src)} is the address of a pod, whose packets come from its node through the overlay`];
  const at = hopAt(pkt.inPort);
  const { hops } = dp.node;
  const own = formatAddress(hops, at + HopWord.ADDRESS);
  const mac = formatMac(hops[at + HopWord.MAC_HIGH]!, hops[at + HopWord.MAC_LOW]!);
  return [`the source would have to be ${names.address(own)}'s own: ${own}, ${mac}; it is ${formatAddress(pkt.src)}`];
}

function noRoute({ pkt, names }: Ended): string[] {
  const address = formatAddress(pkt.dnat !== 0 ? pkt.newDst : pkt.dst);
  const known = names.podAt(address);
  const cause =
    known === undefined
      ? 'no pod has this address'
      : `${names.address(address)} is on ${known.spec.nodeName ?? 'no node'}`;
  return [`${address} would need a route on this node: ${cause}`];
}

function tooLarge({ pkt }: Ended): string[] {
  return [`the packet would have to be at most ${pkt.linkMtu} bytes long, or allow fragments (DF clear)`];
}

/** For a forwarded packet: what the choice of the endpoint depended on. */
function wentOn({ steps }: Ended): string[] {
  const service = steps.find(({ stage, row }) => stage === 'service' && row?.endpoint !== undefined)?.row;
  if (service === undefined || Number(service.endpoints) < 2) return [];
  const chosen = String(service.chosen);
  if (chosen.startsWith('at random')) return ['another connection may get another endpoint'];
  if (chosen.startsWith('by session')) return ['another client may get another endpoint'];
  return [];
}

const BY_VERDICT: Readonly<Record<string, (ended: Ended) => string[]>> = {
  'rejected-tcp-reset': noEndpoint,
  'rejected-port-unreachable': noEndpoint,
  'no-endpoint-silent': noEndpoint,
  'local-policy-drop': noEndpoint,
  'no-such-service': noSuchService,
  'policy-egress': policyDenies,
  'policy-ingress': policyDenies,
  'port-not-declared': portNotDeclared,
  'port-not-declared-silent': portNotDeclared,
  'spoofed-source-ip': spoofed,
  'spoofed-source-mac': spoofed,
  'no-route-answered': noRoute,
  'no-route': noRoute,
  'ttl-exceeded': () => ['the TTL would have to be at least 2 when the packet arrives here'],
  'fragmentation-needed': tooLarge,
  'too-big-silent': tooLarge,
  'destination-mac-foreign': () => ["the frame would have to be sent to the gateway's MAC, or to that of the pod"],
  'conntrack-invalid': (ended) =>
    ended.pkt.protocol === PROTOCOL_TCP
      ? ['a connection begins with SYN; this segment belongs to no tracked connection, or is outside its window']
      : ['a reply needs a tracked request'],
  'source-range': ({ pkt }) => [`spec.loadBalancerSourceRanges would have to include ${formatAddress(pkt.src)}`],
  forwarded: wentOn,
  encapsulated: wentOn,
  'to-host': wentOn,
  'routed-to-node': wentOn,
};

/** Sentences, the most specific first; for other verdicts the advice of the verdict's row. */
export function wouldDiffer(ended: Ended): readonly string[] {
  const own = BY_VERDICT[ended.verdict]?.(ended);
  if (own !== undefined) return own;
  const row = VERDICTS[verdictNamed(ended.verdict)];
  return row === undefined || row.class === 'answered' ? [] : [row.advice];
}
