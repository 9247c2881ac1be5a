/**
 * The messages between the CNI plugin and the agent: the plugin's environment and configuration in one JSON document,
 * and what the plugin has to print. The plugin closes its side of the connection after the request, the agent after the answer.
 *
 * CNI specification 1.1.0 (containernetworking/cni SPEC.md).
 */

/** Versions of the specification that a configuration may have. */
export const CNI_VERSIONS: readonly string[] = ['0.3.1', '0.4.0', '1.0.0', '1.1.0'];

/** The version of answers that no configuration belongs to. */
export const CNI_NEWEST = '1.1.0';

/** The agent's socket for plugins, unless the configuration names another (`agentSocket`). */
export const CNI_SOCKET = '/run/dataplane/cni.sock';

/** Bytes of the largest request and answer: configurations have a few hundred, a list for GC some 100 per container. */
const CNI_MAX_BYTES = 4 << 20;

/** Error codes of the specification ("Error Codes"), and our own from 100. */
export const CniCode = {
  INCOMPATIBLE_VERSION: 1,
  UNSUPPORTED_FIELD: 2,
  UNKNOWN_CONTAINER: 3,
  INVALID_ENVIRONMENT: 4,
  IO_FAILURE: 5,
  DECODING_FAILURE: 6,
  INVALID_CONFIGURATION: 7,
  TRY_AGAIN_LATER: 11,
  /** STATUS: the plugin cannot serve ADD. */
  NOT_AVAILABLE: 50,
  /** STATUS: nor do the containers that are connected have their network. */
  LIMITED_CONNECTIVITY: 51,
  /** No address, port or table entry is left. */
  EXHAUSTED: 100,
  /** The pod's network could not be set up. */
  SET_UP_FAILED: 101,
  /** CHECK: the pod's network is not as ADD left it. */
  CHANGED: 102,
} as const;

/** An error as the plugin prints it. */
export class CniError extends Error {
  override readonly name = 'CniError';
  readonly code: number;
  readonly details: string | undefined;

  constructor(code: number, message: string, details?: string) {
    super(message);
    this.code = code;
    this.details = details;
  }

  /** The error document of a version. */
  document(cniVersion: string): object {
    const { code, message: msg, details } = this;
    return { cniVersion, code, msg, ...(details !== undefined && { details }) };
  }
}

/** @throws CniError for a version of the configuration that is not supported */
export function checkVersion(version: string): void {
  if (CNI_VERSIONS.includes(version)) return;
  const supported = `supported: ${CNI_VERSIONS.join(', ')}`;
  const given = typeof version === 'string' ? version : JSON.stringify(version);
  throw new CniError(CniCode.INCOMPATIBLE_VERSION, `cniVersion ${given} is not supported`, supported);
}

/** All of a stream. @throws CniError if it has more than CNI_MAX_BYTES */
export async function readDocument(stream: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    bytes += chunk.length;
    if (bytes > CNI_MAX_BYTES) throw new CniError(CniCode.DECODING_FAILURE, 'the document is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** The variables of the plugin's environment that the agent reads. */
export const CNI_VARIABLES = ['CNI_COMMAND', 'CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME', 'CNI_ARGS'] as const;

/** A call of the plugin. */
export interface CniRequest {
  /** What the delegated IPAM plugin has assigned; ADD only. */
  readonly assigned?: CniResult;
  readonly environment: Partial<Record<(typeof CNI_VARIABLES)[number], string>>;
  /** The network configuration, parsed. */
  readonly config: CniConfig;
}

/** A network configuration, as far as it is read here. */
export interface CniConfig {
  readonly cniVersion: string;
  readonly name: string;
  readonly type?: string;
  readonly agentSocket?: string;
  /** The file with the pid of the process that forwards while there is no agent. */
  readonly standbyLock?: string;
  /** Another plugin that assigns the addresses, such as host-local. */
  readonly ipam?: { readonly type?: string };
  readonly prevResult?: CniResult;
  readonly dns?: object;
  readonly runtimeConfig?: {
    readonly ips?: readonly string[];
    readonly portMappings?: readonly CniPortMapping[];
    readonly mac?: string;
    readonly bandwidth?: CniBandwidth;
  };
  readonly 'cni.dev/valid-attachments'?: readonly { readonly containerID: string; readonly ifname: string }[];
}

export interface CniPortMapping {
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol?: string;
  readonly hostIP?: string;
}

/** Limits of a container's traffic, bits a second (plugins/meta/bandwidth). Bursts are the pipeline's own. */
export interface CniBandwidth {
  readonly ingressRate?: number;
  readonly egressRate?: number;
}

/** The result of ADD. */
export interface CniResult {
  readonly cniVersion?: string;
  readonly interfaces?: readonly { readonly name: string; readonly mac?: string; readonly sandbox?: string }[];
  readonly ips?: readonly { readonly address: string; readonly gateway?: string; readonly interface?: number }[];
  readonly routes?: readonly { readonly dst: string; readonly gw?: string }[];
  readonly dns?: object;
}

/** The agent's answer: what the plugin prints, and whether it succeeded. */
export interface CniAnswer {
  readonly ok: boolean;
  /** Printed on standard output if present. */
  readonly output?: object;
}
