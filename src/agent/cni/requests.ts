/** Checks the calls of the CNI plugin: the variables that each command needs, and their form (SPEC.md, "Parameters"). */
import {
  CniCode,
  type CniConfig,
  CniError,
  type CniPortMapping,
  type CniRequest,
  checkVersion,
} from '../../cni/protocol.ts';

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
  const { environment, config } = request ?? {};
  if (typeof environment !== 'object' || environment === null || typeof config !== 'object' || config === null) {
    throw new CniError(CniCode.DECODING_FAILURE, 'the request has no environment or no configuration');
  }
  for (const [name, value] of Object.entries(environment)) {
    if (typeof value !== 'string') {
      throw new CniError(CniCode.DECODING_FAILURE, `${name} ${JSON.stringify(value)}: expected a text`);
    }
  }
  return { environment, config };
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
