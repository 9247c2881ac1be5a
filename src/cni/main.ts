/**
 * The CNI plugin: passes its call to the node's agent and prints the answer. It is started for each pod that comes and
 * goes, so it imports nothing but sockets.
 *
 * CNI specification 1.1.0 (containernetworking/cni SPEC.md, "Section 2: Execution Protocol").
 */
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
  const environment = Object.fromEntries(CNI_VARIABLES.map((variable) => [variable, process.env[variable]]));
  return ask(config.agentSocket ?? CNI_SOCKET, JSON.stringify({ environment, config }), name);
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

async function ask(path: string, request: string, name: string): Promise<CniAnswer> {
  const away = (why: string): CniError =>
    new CniError(
      name === 'STATUS' ? CniCode.NOT_AVAILABLE : CniCode.TRY_AGAIN_LATER,
      'the agent of dataplane is not running on this node',
      `${path}: ${why}`,
    );
  const socket = connect(path);
  socket.setTimeout(ANSWER_MS, () => socket.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })));
  // With allowHalfOpen unset for clients, `end` closes our side only; the answer is still read.
  socket.end(request);
  let answer: string;
  try {
    answer = await readDocument(socket);
  } catch (error) {
    throw error instanceof CniError ? error : away((error as NodeJS.ErrnoException).code ?? (error as Error).message);
  }
  if (answer === '') throw away('it closed the connection');
  return JSON.parse(answer) as CniAnswer;
}
