/** The options of a cluster, shared by `up` and `controller`. */
import {
  isTimeoutName,
  MAX_TIMEOUT_SECONDS,
  TIMEOUT_NAMES,
} from '../../../native-free-dataplane/conntrack/timeouts.ts';
import { OVERLAY_NAMES } from '../../../native-free-dataplane/overlay/modes.ts';
import { type ClusterOptions, CONTAINER_RUNTIMES, DEFAULT_CLUSTER_OPTIONS } from '../../api/cluster-options.ts';
import { nearestWord } from '../../api/nearest-word.ts';
import { usageError } from '../errors.ts';
import type { Args, Options } from './args.ts';
import { ipv4Cidr, mtuBytes, oneOf, portNumber, portRange, wholeNumber } from './values.ts';

export const CLUSTER_OPTIONS = {
  workers: { value: 'N', help: 'forwarding workers of each node (default: chosen by the agent)' },
  overlay: { value: 'MODE', help: `overlay between nodes: ${overlayNames()}` },
  mtu: { value: 'BYTES', help: "MTU of pods' devices (default: the underlay's minus the overlay's headers)" },
  'pod-cidr': { value: 'CIDR', help: "pods' network; node i gets its i-th /24 (default 10.244.0.0/16)" },
  'service-cidr': { value: 'CIDR', help: "services' network (default 10.96.0.0/12)" },
  'ipip-transport': {
    value: 'WAY',
    help: 'how IPIP packets leave a node: through a raw socket (default; needs the npm package raw-socket) or dp0',
  },
  'vxlan-port': { value: 'PORT', help: 'UDP port of the overlay (default 4789)' },
  'node-port-range': { value: 'A-B', help: 'NodePorts (default 30000-32767)' },
  'masquerade-ports': {
    value: 'A-B',
    help: "ports of a node's address for its pods' connections to the outside (default 36864-65534)",
  },
  'port-policy': {
    value: 'POLICY',
    help: 'open (default): pods are reachable on every port; declared: on the ports they declare',
  },
  'max-conntrack': { value: 'N', help: 'tracked connections of each node (default 262144)' },
  'conntrack-timeout': {
    value: 'NAME=SECONDS',
    multiple: true,
    help: `how long an idle connection is tracked; names: ${TIMEOUT_NAMES.slice(1).join(', ')}`,
  },
  'conntrack-tcp-liberal': { help: 'let TCP segments outside the window pass (nf_conntrack_tcp_be_liberal)' },
  'conntrack-tcp-strict': {
    help: 'do not pick up TCP connections that are already established (nf_conntrack_tcp_loose=0)',
  },
  'local-policy-action': {
    value: 'ACTION',
    help: 'a Local traffic policy without an endpoint on the node: reject (default), or drop as kube-proxy does',
  },
  'forward-link-local': {
    help: 'let pods reach link-local addresses outside (169.254.0.0/16), such as the metadata of a cloud',
  },
  'load-balancer-pool': {
    value: 'CIDR',
    multiple: true,
    help: 'addresses for services of type LoadBalancer: a CIDR or first-last; may be repeated',
  },
  'external-ip-cidr': {
    value: 'CIDR',
    multiple: true,
    help: 'networks from which services may take externalIPs; may be repeated',
  },
  'container-runtime': {
    value: 'NAME',
    help: 'what starts containers of images: auto (default: crun or runc where one works), crun, runc or launcher',
  },
  dns: {
    value: 'WHO',
    help: "cluster DNS: agent (default): each node's agent is the server; external: a server that you deploy (CoreDNS)",
  },
  'dns-upstream': {
    value: 'ADDRESS',
    multiple: true,
    help: 'name server for names outside the cluster, ADDRESS or ADDRESS:PORT (default: none, such names do not exist)',
  },
} satisfies Options;

/** The names of the overlays, for the help. */
function overlayNames(): string {
  const names = OVERLAY_NAMES.map((name) => (name === DEFAULT_CLUSTER_OPTIONS.overlay ? `${name} (default)` : name));
  return `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`;
}

/** The defaults, overridden by the options given. @throws CliError with status 2 */
export function readClusterOptions(args: Args): ClusterOptions {
  const given: Partial<ClusterOptions> = {
    workers: args.value('workers', wholeNumber(1, 16)),
    overlay: args.value('overlay', oneOf(...OVERLAY_NAMES)),
    mtu: args.value('mtu', mtuBytes),
    podCidr: args.value('pod-cidr', ipv4Cidr),
    serviceCidr: args.value('service-cidr', ipv4Cidr),
    ipipTransport: args.value('ipip-transport', oneOf('raw-socket', 'dp0')),
    vxlanPort: args.value('vxlan-port', portNumber),
    nodePortRange: args.value('node-port-range', portRange),
    masqueradePorts: args.value('masquerade-ports', portRange),
    portPolicy: args.value('port-policy', oneOf('open', 'declared')),
    maxConntrack: args.value('max-conntrack', wholeNumber(16, 8_000_000)),
    conntrackTimeouts: timeouts(args.texts('conntrack-timeout')),
    conntrackTcpLiberal: args.flag('conntrack-tcp-liberal'),
    conntrackTcpLoose: !args.flag('conntrack-tcp-strict'),
    localPolicyAction: args.value('local-policy-action', oneOf('reject', 'drop')),
    forwardLinkLocal: args.flag('forward-link-local'),
    loadBalancerPool: args.texts('load-balancer-pool'),
    externalIpCidrs: args.texts('external-ip-cidr'),
    containerRuntime: args.value('container-runtime', oneOf(...CONTAINER_RUNTIMES)),
    dns: args.value('dns', oneOf('agent', 'external')),
    dnsUpstreams: args.texts('dns-upstream'),
  };
  const set = Object.entries(given).filter(([, value]) => value !== undefined);
  return { ...DEFAULT_CLUSTER_OPTIONS, ...Object.fromEntries(set) };
}

/** Several `NAME=SECONDS`; the last one of a name counts. @throws CliError with status 2 */
function timeouts(texts: readonly string[]): Record<string, number> {
  return Object.fromEntries(texts.map((text) => readTimeout(text, '--conntrack-timeout')));
}

/** One `NAME=SECONDS`. @throws CliError with status 2 */
export function readTimeout(text: string, option: string): [name: string, seconds: number] {
  const [name = '', seconds = ''] = text.split('=');
  if (!isTimeoutName(name)) {
    const names = TIMEOUT_NAMES.slice(1);
    const near = nearestWord(name, names);
    throw usageError(
      `${option} ${text}: there is no timeout "${name}"`,
      near === undefined ? `expected one of ${names.join(', ')}` : `did you mean ${near}?`,
    );
  }
  return [name, wholeNumber(1, MAX_TIMEOUT_SECONDS, 'whole seconds')(seconds, `${option} ${name}`)];
}

/** Refuses inconsistent options: the controller's own check, with the names of the command-line options. */
export async function checkClusterOptions(options: ClusterOptions): Promise<void> {
  const { checkOptions, ClusterOptionsError } = await import('../../controllers/options-check.ts');
  try {
    checkOptions(options);
  } catch (error) {
    if (!(error instanceof ClusterOptionsError)) throw error;
    throw usageError(
      error.message
        .replaceAll('podCidr', '--pod-cidr')
        .replaceAll('serviceCidr', '--service-cidr')
        .replaceAll('underlayCidr', 'the underlay')
        .replaceAll('nodePortRange', '--node-port-range')
        .replaceAll('masqueradePorts', '--masquerade-ports')
        .replaceAll('loadBalancerPool', '--load-balancer-pool')
        .replaceAll('externalIpCidrs', '--external-ip-cidr')
        .replaceAll('dnsUpstreams', '--dns-upstream'),
    );
  }
  const { vxlanPort, nodePortRange, masqueradePorts } = options;
  for (const [name, [first, last]] of [
    ['NodePorts', nodePortRange],
    ['masquerade ports', masqueradePorts],
  ] as const) {
    if (vxlanPort >= first && vxlanPort <= last)
      throw usageError(`--vxlan-port ${vxlanPort} is one of the ${name} ${first}-${last}`, 'choose another port');
  }
}
