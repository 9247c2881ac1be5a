/** `dataplane controller`: runs the API and the controllers until a signal. */
import { markOf, readClusterFile, STATE_DIR, writeClusterFile } from '../../cluster/state.ts';
import { type Args, type Command, operandsAtMost } from '../args/args.ts';
import { CLUSTER_OPTIONS, checkClusterOptions, readClusterOptions } from '../args/cluster-args.ts';
import { oneOf, portNumber } from '../args/values.ts';
import { failed, usageError } from '../errors.ts';
import { note, outliveLog } from '../output/output.ts';

export const command: Command = {
  usage: ['controller [--state DIR] [--api-port PORT] [--listen HOST:PORT [--insecure]] [OPTIONS]'],
  about: `Serve the API on DIR/api.sock and run the controllers, in the foreground. Where \`dataplane up\` wrote a cluster
into DIR its options apply and an agent is kept running for each of its nodes, so this also continues a cluster whose
controller died. Elsewhere the options below apply, and agents are started separately.`,
  options: {
    state: { value: 'DIR', help: `directory of the cluster's state (default ${STATE_DIR})` },
    authorization: { value: 'MODE', help: 'open (default): every authenticated user may do everything; or rbac' },
    'api-port': { value: 'PORT', help: 'port of the API on 127.0.0.1 (default: any free port)' },
    listen: { value: 'HOST:PORT', help: 'serve the API on this address too, for other machines' },
    insecure: { help: 'with --listen: plain HTTP, all permissions for every client; for private networks only' },
    ...CLUSTER_OPTIONS,
    help: { short: 'h', help: 'show this help' },
  },
  run,
};

async function run(args: Args): Promise<void> {
  operandsAtMost('controller', args, 0);
  const state = args.text('state') ?? STATE_DIR;
  const listen = args.value('listen', hostAndPort);
  const insecure = args.flag('insecure');
  if (insecure && listen === undefined) throw usageError('--insecure needs --listen HOST:PORT');
  const cluster = readClusterFile(state);
  const options = cluster?.options ?? readClusterOptions(args);
  await checkClusterOptions(options);
  outliveLog();
  const { mkdirSync } = await import('node:fs');
  mkdirSync(state, { recursive: true });
  const { startController } = await import('../../controllers/controller.ts');
  const { agentCommand } = await import('../../controllers/nodes/agent-supervisor.ts');
  const socketPath = `${state}/api.sock`;
  const log = (line: string) => note(`${new Date().toISOString()} ${line}`);
  const { parsePublishedPort, publishPorts } = await import('../../cluster/ways-in/published-port.ts');
  const { clusterEndpoint } = await import('../../cluster/api-endpoint.ts');
  const { outsideRouter } = await import('../../cluster/outside-routes.ts');
  const { keepWayOut } = await import('../../cluster/ways-out/way-out.ts');
  // Before the API answers: `up` returns soon after, and promises that these ports are there.
  const published = cluster?.published?.flatMap((text) => parsePublishedPort(text) ?? []) ?? [];
  const unpublish = await publishPorts({ ports: published, target: socketPath, log });
  const nodes = cluster?.nodes.map(({ name }) => name) ?? [];
  const { giveLifeSigns } = await import('../../linux/life-signs.ts');
  const { keepSupervisor } = await import('../../cluster/controller-process.ts');
  const controller = await startController({
    stateDir: state,
    socketPath,
    options,
    log,
    access: {
      port: args.value('api-port', portNumber) ?? cluster?.apiPort,
      authorization: cluster?.authorization ?? args.value('authorization', oneOf('open', 'rbac')) ?? 'open',
      inCluster: cluster && (await clusterEndpoint(options)),
      listen: insecure ? undefined : listen,
    },
    insecure: insecure ? listen : undefined,
    ...(cluster !== undefined && { outside: outsideRouter(log) }),
    ...(nodes.length > 0 && {
      agents: { nodes, command: agentCommand(process.argv[1]!, socketPath) },
      volumesDirectory: `${state}/volumes`,
      ingresses: {},
    }),
  });
  // Recorded only now, when it is certain that no other controller of this cluster is running.
  if (cluster !== undefined && state === STATE_DIR) writeClusterFile({ ...cluster, controller: markOf(process.pid) });
  const closeWayOut = cluster?.egress ? keepWayOut(log) : () => {};
  // Only from now on: before, another controller may be running, whose signs these would be.
  const stopSigns = giveLifeSigns(`${state}/controller.alive`);
  const stopKeeping = keepSupervisor([process.execPath, process.argv[1]!], log);
  log(`serving on ${socketPath} and https://127.0.0.1:${controller.apiPort}`);
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
  stopKeeping();
  unpublish();
  closeWayOut();
  await controller.close();
  stopSigns();
}

function hostAndPort(text: string, option: string): { host: string; port: number } {
  const match = /^(.*):(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (match === null || port > 65535) throw usageError(`${option} ${text}: expected HOST:PORT, such as 10.0.0.1:8001`);
  if (match[1] === '') throw failed(`${option} ${text}: the address is missing`, 'such as 127.0.0.1:8001');
  return { host: match[1]!.replace(/^\[|\]$/g, ''), port };
}
