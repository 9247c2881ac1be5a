/**
 * Calls the plugin that assigns the addresses, where a configuration names one (`ipam`): with this plugin's environment and
 * standard input. CNI specification 1.1.0 (containernetworking/cni SPEC.md, "Section 4: Plugin Delegation").
 */
import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { CNI_NEWEST, CniCode, type CniConfig, CniError, type CniResult, readDocument } from './protocol.ts';

/** A plugin's name; a path would lead out of CNI_PATH. */
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** The name of the plugin that assigns the addresses; undefined if the agent does. @throws CniError */
export function ipamPlugin({ ipam }: CniConfig): string | undefined {
  const type = ipam?.type;
  if (type === undefined || type === '') return undefined;
  if (typeof type === 'string' && NAME.test(type)) return type;
  throw new CniError(
    CniCode.INVALID_CONFIGURATION,
    `ipam.type ${JSON.stringify(type)}: expected the name of a plugin, such as host-local`,
  );
}

/**
 * The newest version that plugins of before 1.1.0 know. It has the same results, but neither GC nor STATUS: a configuration's
 * version is chosen by what the runtime and this plugin know.
 */
const BEFORE = '1.0.0';

/**
 * Call the plugin, by the version before if it does not know that of the configuration.
 * @param config what `input` contains
 * @returns its result; undefined for commands without one
 * @throws CniError: the plugin's own, or why it could not be called
 */
export async function callIpam(
  plugin: string,
  command: string,
  input: string,
  config: CniConfig,
): Promise<CniResult | undefined> {
  try {
    return await callOnce(plugin, command, input);
  } catch (error) {
    const isUnknown = error instanceof CniError && error.code === CniCode.INCOMPATIBLE_VERSION;
    if (!isUnknown || config.cniVersion !== CNI_NEWEST) throw error;
    if (command === 'GC' || command === 'STATUS') return undefined;
    return callOnce(plugin, command, JSON.stringify({ ...config, cniVersion: BEFORE }));
  }
}

/**
 * @param command as CNI_COMMAND
 * @param input the configuration, as the runtime has sent it
 * @returns its result; undefined for commands without one
 * @throws CniError: the plugin's own, or why it could not be called
 */
async function callOnce(plugin: string, command: string, input: string): Promise<CniResult | undefined> {
  const child = spawn(findPlugin(plugin), {
    env: { ...process.env, CNI_COMMAND: command },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => resolve(status ?? -1));
  });
  // It may refuse the call without reading all of it.
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const [text, status] = await Promise.all([readDocument(child.stdout), ended]);
  const printed = parsed(plugin, text);
  if (status === 0) return printed as CniResult | undefined;
  const { code, msg, details } = (printed ?? {}) as { code?: number; msg?: string; details?: string };
  throw new CniError(code ?? CniCode.IO_FAILURE, `${plugin}: ${msg ?? `status ${status}`}`, details);
}

function findPlugin(plugin: string): string {
  const path = process.env.CNI_PATH ?? '';
  for (const directory of path.split(':').filter(Boolean)) {
    const file = join(directory, plugin);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // Perhaps in the next directory.
    }
  }
  throw new CniError(CniCode.INVALID_ENVIRONMENT, `CNI_PATH ${JSON.stringify(path)} has no plugin ${plugin}`);
}

function parsed(plugin: string, text: string): object | undefined {
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text) as object;
  } catch (error) {
    throw new CniError(CniCode.DECODING_FAILURE, `${plugin} prints no JSON`, (error as Error).message);
  }
}
