/**
 * The CNI plugin: passes its call to the node's agent and prints the answer. It is started for each pod that comes and
 * goes, so it imports nothing but sockets; the call of a plugin for addresses (ipam.ts) is loaded where one is configured.
 *
 * CNI specification 1.1.0 (containernetworking/cni SPEC.md, "Section 2: Execution Protocol").
 */
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import {
  CNI_NEWEST,
  CNI_SOCKET,
  CNI_VARIABLES,
  CNI_VERSIONS,
  type CniAnswer,
  CniCode,
  type CniConfig,
  CniError,
  type CniResult,
  checkVersion,
  readDocument,
} from './protocol.ts';

/** How long the agent may take; kubelet and containerd give up after minutes. */
const ANSWER_MS = 60_000;

const command = process.env.CNI_COMMAND ?? '';
let version = CNI_NEWEST;
answerOf(command).then(
  ({ ok, output }) => {
    if (output !== undefined) print(output);
    process.exitCode = ok ? 0 : 1;
  },
  (error: Error) => {
    const failure = error instanceof CniError ? error : new CniError(CniCode.IO_FAILURE, error.message);
    print(failure.document(version));
    process.exitCode = 1;
  },
);

function print(output: object): void {
  process.stdout.write(`${JSON.stringify(output)}\n`);
}

async function answerOf(name: string): Promise<CniAnswer> {
  if (name === '') throw new CniError(CniCode.INVALID_ENVIRONMENT, 'CNI_COMMAND is not set: this is a CNI plugin');
  const input = await readDocument(process.stdin);
  const config = parseConfig(input, name);
  if (name === 'VERSION') {
    return { ok: true, output: { cniVersion: version, supportedVersions: CNI_VERSIONS } };
  }
  checkVersion(version);
  if (config.ipam === undefined) return ask(config, name);
  const { callIpam, ipamPlugin } = await import('./ipam.ts');
  const plugin = ipamPlugin(config);
  if (plugin === undefined) return ask(config, name);
  if (name === 'ADD') return addWithIpam(config, (step) => callIpam(plugin, step, input, config));
  // Addresses are released when nothing uses them any more.
  const answer = await ask(config, name);
  if (answer.ok) await callIpam(plugin, name, input, config);
  return answer;
}

/** An address that was assigned for nothing is released: a runtime may take a failed ADD for one that did nothing. */
async function addWithIpam(
  config: CniConfig,
  call: (command: string) => Promise<CniResult | undefined>,
): Promise<CniAnswer> {
  const assigned = await call('ADD');
  const release = (): Promise<unknown> => call('DEL').catch(() => {});
  try {
    const answer = await ask(config, 'ADD', assigned ?? {});
    if (!answer.ok) await release();
    return answer;
  } catch (error) {
    await release();
    throw error;
  }
}

/** The configuration; VERSION needs none but the version. */
function parseConfig(input: string, name: string): CniConfig {
  let config: CniConfig;
  try {
    config = JSON.parse(input === '' && name === 'VERSION' ? '{}' : input) as CniConfig;
    if (typeof config !== 'object' || config === null) throw new Error('not an object');
  } catch (error) {
    throw new CniError(
      CniCode.DECODING_FAILURE,
      'the network configuration is not valid JSON',
      (error as Error).message,
    );
  }
  // Before 0.2.0 configurations had no version (SPEC.md of 0.2.0).
  version = typeof config.cniVersion === 'string' ? config.cniVersion : name === 'VERSION' ? CNI_NEWEST : '0.1.0';
  return config;
}

/** @param assigned by the plugin for addresses */
async function ask(config: CniConfig, name: string, assigned?: CniResult): Promise<CniAnswer> {
  const path = config.agentSocket ?? CNI_SOCKET;
  const environment = Object.fromEntries(CNI_VARIABLES.map((variable) => [variable, process.env[variable]]));
  const away = (why: string): CniError =>
    new CniError(
      name === 'STATUS' ? statusWithoutAgent(config) : CniCode.TRY_AGAIN_LATER,
      'the agent of dataplane is not running on this node',
      `${path}: ${why}`,
    );
  const socket = connect(path);
  socket.setTimeout(ANSWER_MS, () => socket.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })));
  // With allowHalfOpen unset for clients, `end` closes our side only; the answer is still read.
  socket.end(JSON.stringify({ environment, config, ...(assigned && { assigned }) }));
  let answer: string;
  try {
    answer = await readDocument(socket);
  } catch (error) {
    throw error instanceof CniError ? error : away((error as NodeJS.ErrnoException).code ?? (error as Error).message);
  }
  if (answer === '') throw away('it closed the connection');
  return JSON.parse(answer) as CniAnswer;
}

/** Containers that are connected have their network without the agent only if a standby forwards. */
function statusWithoutAgent({ standbyLock }: CniConfig): number {
  if (standbyLock === undefined) return CniCode.LIMITED_CONNECTIVITY;
  try {
    const pid = Number(readFileSync(standbyLock, 'utf8'));
    const forwards = readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('/standby/');
    return forwards ? CniCode.NOT_AVAILABLE : CniCode.LIMITED_CONNECTIVITY;
  } catch {
    return CniCode.LIMITED_CONNECTIVITY;
  }
}
