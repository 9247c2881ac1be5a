/** The services of the scaling benchmark: N of them with ten endpoints each. Only the first, the last and one more ("change") have
 * a server: their endpoints are ports of the server pod. The endpoints of all others are unused addresses. */
import { parseIp, printIp } from '../../../src/net/address.ts';
import type { ServicePort } from '../kube-proxy/service-port.ts';

export const ENDPOINTS = 10;
/** The server answers on this port and the next nine, each with its own number. */
export const LIVE_PORT = 8000;
export const SERVICE_PORT = 80;

export interface ScalingPlan {
  services: ServicePort[];
  first: ServicePort;
  last: ServicePort;
  /** Has one endpoint at a time; the benchmark moves it between LIVE_PORT and LIVE_PORT + 1. */
  change: ServicePort;
}

/** `count` services, at least 3. @param endpointsOfOthers below ten for a contender that cannot hold the full set */
export function scalingPlan(count: number, serverIp: string, endpointsOfOthers = ENDPOINTS): ScalingPlan {
  const services: ServicePort[] = [];
  for (let at = 0; at < count; at++) {
    services.push({
      name: `default/s${at}:http`,
      clusterIp: address('10.100.0.0', at + 1),
      protocol: 'tcp',
      port: SERVICE_PORT,
      endpoints: Array.from({ length: endpointsOfOthers }, (_, n) => ({
        ip: address('10.200.0.0', at * ENDPOINTS + n + 1),
        port: 8080,
      })),
    });
  }
  const first = services[0]!;
  const last = services[count - 1]!;
  const change = services[count >> 1]!;
  for (const live of [first, last]) {
    live.endpoints = Array.from({ length: ENDPOINTS }, (_, n) => ({ ip: serverIp, port: LIVE_PORT + n }));
  }
  change.endpoints = [{ ip: serverIp, port: LIVE_PORT }];
  return { services, first, last, change };
}

/** `base` plus `offset`, as text. */
function address(base: string, offset: number): string {
  const { family, value } = parseIp(base)!;
  return printIp({ family, value: value + BigInt(offset) });
}
