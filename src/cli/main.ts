#!/usr/bin/env node
/**
 * The command `dataplane`. It has only the names of the commands and one line about each; a command's module is loaded
 * when it is used, so that `--help` is fast.
 */
import { fileURLToPath } from 'node:url';
import type { Command } from './args/args.ts';
import { describeError, Exit, usageError } from './errors.ts';

type Loader = () => Promise<{ command: Command }>;

interface Entry {
  about: string;
  load: Loader;
}

const GROUPS: Readonly<Record<string, Readonly<Record<string, Entry>>>> = {
  'The cluster': {
    up: { about: 'bring the cluster up and apply files', load: () => import('./commands/up.ts') },
    down: { about: 'remove the cluster', load: () => import('./commands/down.ts') },
    kubeconfig: {
      about: 'print the kubeconfig for kubectl and other clients',
      load: () => import('./commands/kubeconfig.ts'),
    },
    config: { about: 'show or change options of the running cluster', load: () => import('./commands/config.ts') },
    status: {
      about: 'show the state of nodes, agents, workers and tables',
      load: () => import('./commands/status.ts'),
    },
  },
  Objects: {
    apply: { about: 'create or update objects from manifests', load: () => import('./commands/apply.ts') },
    delete: { about: 'delete objects by manifest or by name', load: () => import('./commands/delete.ts') },
    get: { about: 'show objects', load: () => import('./commands/get.ts') },
    describe: { about: 'show objects in full, with their events', load: () => import('./commands/describe.ts') },
    expose: { about: 'create a service for a pod or a deployment', load: () => import('./commands/expose.ts') },
  },
  Pods: {
    exec: { about: 'run a command in a container', load: () => import('./commands/exec.ts') },
    logs: { about: "print a container's output", load: () => import('./commands/logs.ts') },
    'port-forward': {
      about: 'forward ports of this host to a pod',
      load: () => import('./commands/port-forward.ts'),
    },
    restart: { about: "restart a pod's containers and keep its network", load: () => import('./commands/restart.ts') },
  },
  'From this host': {
    run: { about: 'run a program of this host in the network of the cluster', load: () => import('./commands/run.ts') },
    collect: {
      about: 'write state and logs into a directory, for a report or CI',
      load: () => import('./commands/collect.ts'),
    },
  },
  Packets: {
    trace: {
      about: 'follow a packet through the live tables, step by step',
      load: () => import('./commands/trace.ts'),
    },
    why: { about: 'find out why one end cannot connect to another', load: () => import('./commands/why.ts') },
    policy: { about: 'explain what NetworkPolicies allow', load: () => import('./commands/policy.ts') },
    dns: { about: 'look a name up as a pod does, step by step', load: () => import('./commands/dns.ts') },
    conntrack: { about: 'show or flush the tracked connections', load: () => import('./commands/conntrack.ts') },
  },
  'Processes that `up` starts': {
    controller: { about: 'run the API and the controllers', load: () => import('./commands/controller.ts') },
    agent: { about: "run one node's data plane and pods", load: () => import('./commands/agent.ts') },
  },
};

const COMMANDS: Readonly<Record<string, Entry>> = Object.assign({}, ...Object.values(GROUPS));

function printOverview(): string {
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length));
  const groups = Object.entries(GROUPS).map(([title, entries]) => {
    const lines = Object.entries(entries).map(([name, { about }]) => `  ${name.padEnd(width)}  ${about}`);
    return `${title}:\n${lines.join('\n')}\n`;
  });
  return `Usage: dataplane COMMAND [ARG…]

The network of a Kubernetes cluster, forwarded in user space by TypeScript.

${groups.join('\n')}
\`dataplane COMMAND --help\` shows a command's options. DATAPLANE_DEBUG=1 adds the stack trace to an error.
`;
}

async function main(argv: readonly string[]): Promise<void> {
  const [name, ...rest] = argv;
  if (name === undefined) {
    process.stderr.write(printOverview());
    process.exitCode = Exit.USAGE;
    return;
  }
  if (name === 'help' && rest[0] !== undefined) return main([rest[0], '--help']);
  if (name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(printOverview());
    return;
  }
  if (name === '--version' || name === 'version') {
    const { readFileSync } = await import('node:fs');
    const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
    process.stdout.write(`dataplane ${(JSON.parse(text) as { version: string }).version}\n`);
    return;
  }
  const entry = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (entry === undefined) {
    const { nearestWord } = await import('../api/nearest-word.ts');
    const near = nearestWord(name, Object.keys(COMMANDS));
    const advice = near === undefined ? 'see `dataplane --help`' : `did you mean \`dataplane ${near}\`?`;
    throw usageError(`there is no command "${name}"`, advice);
  }
  const [{ parseCommandLine, printHelp }, { command }] = await Promise.all([import('./args/args.ts'), entry.load()]);
  const end = rest.indexOf('--');
  const own = end < 0 ? rest : rest.slice(0, end);
  if (own.includes('--help') || own.includes('-h')) {
    process.stdout.write(printHelp(command));
    return;
  }
  await command.run(parseCommandLine(name, command, rest));
}

// It is no error if the reader of the pipe ends early (`| head`).
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(Exit.DONE);
});

// The real path, not that of a link: `up` starts the controller with it, the controller starts the agents, and `down`
// finds these processes by it.
process.argv[1] = fileURLToPath(import.meta.url);

// Directories of programs such as `ip`, which may be missing from PATH under sudo or cron.
process.env.PATH = [...new Set([...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/usr/bin', '/sbin', '/bin'])]
  .filter(Boolean)
  .join(':');

const debug = process.env.DATAPLANE_DEBUG === '1';
// Stack traces then refer to the sources, not to the bundle.
if (debug) process.setSourceMapsEnabled(true);

try {
  await main(process.argv.slice(2));
} catch (error) {
  const { text, status } = describeError(error);
  if (text !== undefined) process.stderr.write(`${text}\n`);
  if (debug && text !== undefined) console.error(error);
  // Not exitCode: a timer or socket left over from a failed start would keep the process alive.
  process.exit(status);
}
