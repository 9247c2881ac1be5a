/** Checks the calls of the CNI plugin: the variables that each command needs, and their form (SPEC.md, "Parameters"). */
import {
  CniCode,
  type CniConfig,
  CniError,
  type CniPortMapping,
  type CniRequest,
  type CniResult,
  checkVersion,
} from '../../cni/protocol.ts';
import type { TrafficLimits } from '../node-sync.ts';

/** Container IDs and network names: SPEC.md, libcni pkg/utils. */
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;
/** IFNAMSIZ less the closing zero (linux/if.h). */
const MAX_IFNAME = 15;

/** A container's device, as a call names it. */
export interface CniTarget {
  readonly containerID: string;
  readonly ifname: string;
  /** Empty if the namespace does not exist any more; DEL only. */
  readonly netnsPath: string;
  /** What runtimes of Kubernetes say about the pod. */
  readonly pod?: { readonly namespace: string; readonly name: string };
}

/** @throws CniError for a request that is not one */
export function readRequest(text: string): CniRequest {
  let request: Partial<CniRequest>;
  try {
    request = JSON.parse(text) as Partial<CniRequest>;
  } catch (error) {
    throw new CniError(CniCode.DECODING_FAILURE, 'the request is not valid JSON', (error as Error).message);
  }
  const { environment, config, assigned } = request ?? {};
  if (typeof environment !== 'object' || environment === null || typeof config !== 'object' || config === null) {
    throw new CniError(CniCode.DECODING_FAILURE, 'the request has no environment or no configuration');
  }
  for (const [name, value] of Object.entries(environment)) {
    if (typeof value !== 'string') {
      throw new CniError(CniCode.DECODING_FAILURE, `${name} ${JSON.stringify(value)}: expected a text`);
    }
  }
  if (assigned !== undefined && (typeof assigned !== 'object' || assigned === null)) {
    throw new CniError(CniCode.DECODING_FAILURE, 'the result of the IPAM plugin is no object');
  }
  return { environment, config, ...(assigned && { assigned }) };
}

/** @throws CniError for a configuration that cannot be served */
export function checkConfig(config: CniConfig): void {
  const wrong = (what: string): CniError => new CniError(CniCode.INVALID_CONFIGURATION, what);
  // Again: the plugin that is installed may be of another version than the agent.
  checkVersion(config.cniVersion);
  if (typeof config.name !== 'string' || !NAME.test(config.name)) {
    throw wrong(`name ${JSON.stringify(config.name)}: expected letters, digits, '.', '_' and '-'`);
  }
}

/** @throws CniError that names the variable */
export function targetOf({ environment }: CniRequest, needsNamespace: boolean): CniTarget {
  const wrong = (variable: string, expected: string): CniError =>
    new CniError(
      CniCode.INVALID_ENVIRONMENT,
      `${variable} ${JSON.stringify(environmentOf(variable))}: expected ${expected}`,
    );
  const environmentOf = (variable: string): string =>
    (environment as Record<string, string | undefined>)[variable] ?? '';
  const containerID = environmentOf('CNI_CONTAINERID');
  const ifname = environmentOf('CNI_IFNAME');
  const netnsPath = environmentOf('CNI_NETNS');
  if (!NAME.test(containerID)) throw wrong('CNI_CONTAINERID', 'an ID of letters, digits, ".", "_" and "-"');
  if (!isDeviceName(ifname)) throw wrong('CNI_IFNAME', `a device name of at most ${MAX_IFNAME} bytes`);
  if (needsNamespace && !netnsPath.startsWith('/')) throw wrong('CNI_NETNS', 'the path of a network namespace');
  const args = argumentsOf(environmentOf('CNI_ARGS'));
  const [namespace, name] = [args.get('K8S_POD_NAMESPACE'), args.get('K8S_POD_NAME')];
  return { containerID, ifname, netnsPath, ...(namespace && name && { pod: { namespace, name } }) };
}

/** linux net/core/dev.c dev_valid_name */
function isDeviceName(name: string): boolean {
  return name.length > 0 && name.length <= MAX_IFNAME && name !== '.' && name !== '..' && !/[/:\s]/.test(name);
}

/** `KEY=value;KEY=value`. @throws CniError for anything else */
function argumentsOf(text: string): Map<string, string> {
  const pairs = text === '' ? [] : text.split(';');
  return new Map(
    pairs.map((pair) => {
      const at = pair.indexOf('=');
      if (at < 1)
        throw new CniError(CniCode.INVALID_ENVIRONMENT, `CNI_ARGS ${JSON.stringify(text)}: expected KEY=VALUE;…`);
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}

/** Addresses are written with the length of their network's prefix (SPEC.md, "ips"). */
export const withoutPrefix = (address: string): string => address.replace(/\/.*$/, '');

/**
 * The address that a container is to have: the IPAM plugin's, or the runtime's choice; undefined: any.
 * @throws CniError for several, or for none where the IPAM plugin has to assign it
 */
export function addressWanted({ config, assigned }: CniRequest): string | undefined {
  const delegated = assigned !== undefined;
  const [wanted, ...others] = delegated ? assignedAddresses(assigned) : (config.runtimeConfig?.ips ?? []);
  if (others.length > 0) {
    throw new CniError(CniCode.UNSUPPORTED_FIELD, `${delegated ? 'ipam' : 'ips'}: a pod has one address`);
  }
  if (delegated && wanted === undefined) {
    throw new CniError(CniCode.INVALID_CONFIGURATION, 'ipam: the plugin has assigned no address');
  }
  if (wanted !== undefined && typeof wanted !== 'string') {
    throw new CniError(CniCode.INVALID_CONFIGURATION, `ips ${JSON.stringify(wanted)}: expected an address`);
  }
  return wanted && withoutPrefix(wanted);
}

function assignedAddresses({ ips = [] }: CniResult): string[] {
  if (!Array.isArray(ips)) throw new CniError(CniCode.DECODING_FAILURE, 'ipam: the addresses are no list');
  return ips.map((ip) => ip?.address);
}

/** The MAC address that the runtime chooses, in lower case; undefined if it chooses none. @throws CniError */
export function macWanted({ runtimeConfig }: CniConfig): string | undefined {
  const mac = runtimeConfig?.mac;
  if (mac === undefined) return undefined;
  // linux include/linux/etherdevice.h is_valid_ether_addr
  const isUnicast = /^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/i.test(mac) && !/^[0:]*$/.test(mac);
  if (isUnicast) return mac.toLowerCase();
  throw new CniError(
    CniCode.INVALID_CONFIGURATION,
    `mac ${JSON.stringify(mac)}: expected a unicast address such as 0a:58:0a:f4:01:05`,
  );
}

/** What Kubernetes accepts in a pod's annotations, bits a second. */
const LEAST_BANDWIDTH = 1e3;
const MOST_BANDWIDTH = 1e15;

/** The bandwidth limits of a configuration; undefined without any. @throws CniError */
export function bandwidthOf({ runtimeConfig }: CniConfig): TrafficLimits | undefined {
  const bandwidth = runtimeConfig?.bandwidth ?? {};
  const wrong = (what: string, value: unknown): CniError =>
    new CniError(
      CniCode.INVALID_CONFIGURATION,
      `bandwidth${what} ${JSON.stringify(value)}: expected bits a second from ${LEAST_BANDWIDTH} to ${MOST_BANDWIDTH}`,
    );
  if (typeof bandwidth !== 'object' || Array.isArray(bandwidth)) throw wrong('', bandwidth);
  const rate = (name: 'ingressRate' | 'egressRate'): number => {
    const value: unknown = bandwidth[name] ?? 0;
    if (typeof value === 'number' && (value === 0 || (value >= LEAST_BANDWIDTH && value <= MOST_BANDWIDTH)))
      return value;
    throw wrong(`.${name}`, value);
  };
  const limits = { ingress: rate('ingressRate'), egress: rate('egressRate') };
  return limits.ingress > 0 || limits.egress > 0 ? limits : undefined;
}

/** The port mappings of a configuration, checked. @throws CniError */
export function portMappingsOf({ runtimeConfig }: CniConfig): CniPortMapping[] {
  const isPort = (port: unknown): boolean => Number.isInteger(port) && (port as number) > 0 && (port as number) < 65536;
  const wrong = (mapping: unknown, expected: string): CniError =>
    new CniError(CniCode.INVALID_CONFIGURATION, `portMappings ${JSON.stringify(mapping)}: expected ${expected}`);
  const mappings = runtimeConfig?.portMappings ?? [];
  if (!Array.isArray(mappings)) throw wrong(mappings, 'a list');
  return mappings.flatMap((mapping) => {
    if (typeof mapping !== 'object' || mapping === null)
      throw wrong(mapping, 'objects with hostPort and containerPort');
    const { hostPort, containerPort, protocol = 'tcp', hostIP = '' } = mapping;
    // containerd lists every port of a pod, with 0 where the host has none.
    if (hostPort === 0) return [];
    const name = String(protocol).toUpperCase();
    if (!isPort(hostPort) || !isPort(containerPort) || !['TCP', 'UDP', 'SCTP'].includes(name)) {
      throw wrong(mapping, 'ports from 1 to 65535 and tcp, udp or sctp');
    }
    if (typeof hostIP !== 'string') throw wrong(mapping, 'an address as hostIP');
    return [{ hostPort, containerPort, protocol: name, ...(hostIP !== '' && { hostIP }) }];
  });
}
