/**
 * Does the node's routing lead the data plane's packets to dp0? Others may add rules before ours, or routes to a part of a
 * pod network, such as those that another network plugin has left behind. The kernel is asked, for one address of each
 * network.
 */
import { spawnSync } from 'node:child_process';
import { nthAddress, parseCidr, printIp } from '../../net/address.ts';
import { HOST_DEVICE } from './rule-order.ts';

/** An address outside the cluster (RFC 5737): the client in the probe of NodePorts. */
const CLIENT = '192.0.2.1';
/** Limit of networks that are probed. */
const MAX_NETWORKS = 256;

/** What must lead to dp0. */
export interface ProbedRoutes {
  /** Networks of pods and services. */
  readonly networks: readonly string[];
  readonly nodeIP: string;
  readonly nodePort: number;
  /** The device on which clients' packets arrive. */
  readonly underlayDevice: string;
}

/** Arguments of `ip route get`, and what they stand for. */
interface Probe {
  readonly what: string;
  readonly args: string;
}

function probesOf({ networks, nodeIP, nodePort, underlayDevice }: ProbedRoutes): Probe[] {
  // Not the first address: in the node's own network that is its own.
  const inNetwork = networks.slice(0, MAX_NETWORKS).flatMap((network): Probe[] => {
    const address = nthAddress(parseCidr(network)!, 2);
    return address === undefined ? [] : [{ what: `packets to ${network}`, args: printIp(address) }];
  });
  const client = `${nodeIP} from ${CLIENT} iif ${underlayDevice} ipproto tcp dport ${nodePort}`;
  return [...inNetwork, { what: 'packets to NodePorts', args: client }];
}

/** What is led elsewhere, and the command that shows it; undefined if everything leads to dp0. */
export function misrouted(routes: ProbedRoutes): string | undefined {
  const probes = probesOf(routes);
  const input = probes.map(({ args }) => `route get ${args}\n`).join('');
  const { stdout, error } = spawnSync('ip', ['-json', '-batch', '-'], { input, encoding: 'utf8' });
  return error === undefined ? firstElsewhere(probes, stdout) : undefined;
}

/** @param answers one line of JSON for each probe, up to the first one that the kernel refuses */
function firstElsewhere(probes: readonly Probe[], answers: string): string | undefined {
  const devices = answers.split('\n').flatMap((line) => (line.trim() === '' ? [] : [deviceIn(line)]));
  const at = probes.findIndex((_, index) => devices[index] !== HOST_DEVICE);
  const probe = probes[at];
  if (probe === undefined) return undefined;
  const instead = devices[at] === undefined ? 'are refused' : `go to ${devices[at]}`;
  return `the node's routing is changed: ${probe.what} ${instead} (\`ip route get ${probe.args}\`)`;
}

const deviceIn = (line: string): string => (JSON.parse(line) as { dev?: string }[])[0]?.dev ?? '';
