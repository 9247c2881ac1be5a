/** The host ports of a pod → service ports with one endpoint, the pod: a pure function, like compileService. */
import { SERVICE_PROTOCOLS } from '../../native-free-dataplane/protocols.ts';
import { FrontendKind } from '../../native-free-dataplane/services/table.ts';
import { addressWords } from '../../native-free-dataplane/wire/address.ts';
import { hostPortsOf } from '../api/host-ports.ts';
import type { Pod } from '../api/types/objects.ts';
import { parseIp } from '../net/address.ts';
import type { CompiledPort } from './compile-service.ts';

/** Highest port that a routing rule can name (src/linux/rules.ts). */
const LAST_PORT = 65534;

export interface CompiledHostPorts {
  readonly ports: CompiledPort[];
  /** Ports that are not served, with the reason. */
  readonly refused: string[];
}

/** @param podIP IPv4 address of the pod */
export function compileHostPorts(pod: Pod, podIP: string): CompiledHostPorts {
  const { namespace = 'default', name } = pod.metadata;
  const ports: CompiledPort[] = [];
  const refused: string[] = [];
  for (const { protocol, ip, port, target } of hostPortsOf(pod.spec)) {
    const number = SERVICE_PROTOCOLS[protocol];
    if (number === undefined) continue;
    if (parseIp(ip)?.family !== 4) {
      refused.push(`hostPort ${port}: hostIP ${ip} is no IPv4 address`);
      continue;
    }
    if (port > LAST_PORT) {
      refused.push(`hostPort ${port}: ${LAST_PORT} is the highest that a routing rule can name`);
      continue;
    }
    const endpoint = { address: addressWords(podIP), port: target, key: `${podIP}:${target}` };
    ports.push({
      // No Service has two slashes before its port.
      name: `pod/${namespace}/${name}:${ip}:${port}/${protocol}`,
      protocol: number,
      frontends: [{ kind: FrontendKind.HOST_PORT, address: addressWords(ip), port }],
      cluster: [endpoint],
      local: [endpoint],
      hasEndpoints: true,
      serving: [endpoint.key],
      affinitySeconds: 0,
      internalLocal: true,
      externalLocal: true,
      maglev: false,
      sourceRanges: [],
    });
  }
  return { ports, refused };
}
