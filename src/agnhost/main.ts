#!/usr/bin/env node
/**
 * `agnhost`: the program in the image of Kubernetes' own tests, with the subcommands for networks. Options, output and exit
 * status are those that the tests look for (kubernetes/kubernetes, test/images/agnhost/README.md).
 */
import { UsageError } from './flags.ts';

type Command = (args: readonly string[]) => void | Promise<void>;

/** Each is loaded when it is used: a probe starts this program for one connection. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  connect: async () => (await import('./commands/connect.ts')).run,
  'dns-server-list': async () => (await import('./commands/resolver-files.ts')).dnsServerList,
  'dns-suffix': async () => (await import('./commands/resolver-files.ts')).dnsSuffix,
  'entrypoint-tester': async () => () => {
    process.stdout.write(`[${process.argv.slice(1).join(' ')}]\n`);
  },
  'etc-hosts': async () => (await import('./commands/resolver-files.ts')).etcHosts,
  'grpc-health-checking': async () => (await import('./commands/grpc-health-checking.ts')).run,
  guestbook: async () => (await import('./commands/guestbook.ts')).run,
  liveness: async () => (await import('./commands/liveness.ts')).run,
  'logs-generator': async () => (await import('./commands/logs-generator.ts')).run,
  net: async () => (await import('./commands/net.ts')).run,
  netexec: async () => (await import('./commands/netexec.ts')).run,
  nettest: async () => (await import('./commands/nettest.ts')).run,
  'no-snat-test': async () => (await import('./commands/no-snat-test.ts')).run,
  'no-snat-test-proxy': async () => (await import('./commands/no-snat-test.ts')).runProxy,
  pause: async () => pause,
  porter: async () => (await import('./commands/porter.ts')).run,
  'serve-hostname': async () => (await import('./commands/serve-hostname.ts')).run,
  'tcp-reset': async () => (await import('./commands/tcp-reset.ts')).run,
  'test-webserver': async () => (await import('./commands/test-webserver.ts')).run,
};

function pause(): void {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(0));
  setInterval(() => {}, 2 ** 30);
  process.stdout.write('Paused\n');
}

const [name = 'help', ...args] = process.argv.slice(2);
const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
if (load !== undefined) {
  try {
    await (await load())(args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`Error: ${error.message}\n`);
    process.exit(1);
  }
} else if (['help', '--help', '-h'].includes(name)) {
  process.stdout.write(`Usage:\n  agnhost [command]\n\nAvailable Commands:\n${list()}`);
} else {
  process.stderr.write(`Error: unknown command ${JSON.stringify(name)} for "agnhost": here it has\n${list()}`);
  process.exit(1);
}

function list(): string {
  return Object.keys(COMMANDS)
    .map((command) => `  ${command}\n`)
    .join('');
}
