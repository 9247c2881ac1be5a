/** `dataplane port-forward`: forwards ports of this host to a pod. */
import type { PortTarget } from '../../cluster/ways-in/port-target.ts';
import type { Relay } from '../../cluster/ways-in/relay.ts';
import { type Args, type Command, needOperand } from '../args/args.ts';
import { needNetworkNamespace } from '../args/place.ts';
import { failed, needRoot, usageError } from '../errors.ts';
import { note, print } from '../output/output.ts';
import { NAMESPACE_OPTION, namespaceOf, withClient } from '../with-client.ts';

export const command: Command = {
  usage: ['port-forward TYPE/NAME [LOCAL:]REMOTE… [--address ADDRESS] [-n NAMESPACE]'],
  about: `Listen on ports of this host and forward their connections to a pod, until Ctrl-C or until the pod ends. TYPE/NAME is
a pod, or a service, deployment, replicaset, statefulset or daemonset, of which a running pod is chosen. REMOTE is a port by
number or name; of a service, the service's. \`:REMOTE\` takes a free local port.`,
  options: {
    address: { value: 'ADDRESS', multiple: true, help: 'where to listen (default: localhost, 127.0.0.1 and ::1)' },
    ...NAMESPACE_OPTION,
    help: { short: 'h', help: 'show this help' },
  },
  examples: ['dataplane port-forward pod/mc3 8080:80', 'dataplane port-forward svc/web :http'],
  run,
};

interface Ports {
  readonly local: number;
  readonly remote: string;
}

/** Interval of the check that the pod still exists, in milliseconds. */
const LOOK_MS = 500;
const LOOPBACKS = ['127.0.0.1', '::1'];

async function run(args: Args): Promise<void> {
  const what = needOperand('port-forward', args, 0, 'TYPE/NAME');
  needOperand('port-forward', args, 1, 'the port');
  const { findTarget, parseForwardTarget } = await import('../../cluster/ways-in/port-target.ts');
  const wanted = parseForwardTarget(what);
  if (wanted === undefined)
    throw usageError(`"${what}": expected pod/NAME, svc/NAME, deployment/NAME or another kind that has pods`);
  const ports = args.operands.slice(1).map(readPorts);
  needRoot('port-forward');
  const target = await withClient((client) => findTarget(client, wanted, namespaceOf(args)));
  const path = needNetworkNamespace({ kind: 'pod', name: target.pod, namespace: target.namespace });
  const relays: Relay[] = [];
  try {
    for (const port of ports) relays.push(...(await forward(port, target, path, args.texts('address'))));
    await untilGone(target);
  } finally {
    for (const relay of relays) relay.close();
  }
}

/** `8080`, `8080:80`, `8080:http`, `:80`. */
function readPorts(text: string): Ports {
  const [first = '', second, more] = text.split(':');
  const remote = second ?? first;
  const local = second === undefined ? (/^\d+$/.test(first) ? first : '0') : first || '0';
  if (more === undefined && /^\d{1,5}$/.test(local) && Number(local) <= 65535 && /^[a-z0-9-]+$/i.test(remote))
    return { local: Number(local), remote };
  throw usageError(`"${text}": expected [LOCAL:]REMOTE, such as 8080:80`);
}

async function forward(
  { local, remote }: Ports,
  { portOf }: PortTarget,
  path: string,
  addresses: readonly string[],
): Promise<Relay[]> {
  const [{ listenAndRelay }, { connectToLoopback }] = await Promise.all([
    import('../../cluster/ways-in/relay.ts'),
    import('../../linux/connect.ts'),
  ]);
  const port = portOf(remote);
  const relays: Relay[] = [];
  const failures: string[] = [];
  for (const host of addresses.length > 0 ? addresses.flatMap(loopbacks) : LOOPBACKS) {
    try {
      const relay = await listenAndRelay({
        host,
        // Use the same number on every address, even if it is the free port that the first one got.
        port: relays[0]?.port ?? local,
        dial: () => connectToLoopback(path, port),
        onConnection: () => print(`Handling connection for ${relay.port}`),
        onError: (reason) => note(`port ${port} of the pod: ${reason}`),
      });
      relays.push(relay);
      const shown = host.includes(':') ? `[${host}]` : host;
      print(`Forwarding from ${shown}:${relay.port} -> ${port}`);
    } catch (error) {
      failures.push(`${host}:${local}: ${(error as NodeJS.ErrnoException).code ?? (error as Error).message}`);
    }
  }
  // A machine without IPv6 has no ::1.
  if (relays.length === 0) throw failed(`cannot listen on ${failures.join(', ')}`, 'choose another local port');
  return relays;
}

const loopbacks = (address: string): string[] => (address === 'localhost' ? LOOPBACKS : [address]);

/** Waits for a signal. @throws CliError if the pod is gone */
async function untilGone({ pod, namespace }: PortTarget): Promise<void> {
  const { networkNamespaceOf } = await import('../../cluster/network-namespaces.ts');
  await new Promise<void>((resolve, reject) => {
    const timer = setInterval(() => {
      if (networkNamespaceOf({ kind: 'pod', name: pod, namespace }) !== undefined) return;
      clearInterval(timer);
      reject(failed(`lost connection to pod ${pod}`, 'it has ended or was deleted'));
    }, LOOK_MS);
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => {
        clearInterval(timer);
        resolve();
      });
    }
  });
}
