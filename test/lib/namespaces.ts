/** Network namespaces of tests that play machines which are not ours, set up by iproute2. */
import { output, run } from './cluster.ts';

export async function addNamespaces(...names: string[]): Promise<void> {
  for (const name of names) await output(run(['ip', 'netns', 'add', name]));
}

/** Takes namespaces away, and with them all that is in them; those that are not there are passed over. */
export async function removeNamespaces(...names: string[]): Promise<void> {
  for (const name of names) await run(['ip', 'netns', 'del', name]);
}

/** Lines of `ip -batch` in a namespace. @throws Error at the first that fails */
export const ip = (netns: string, ...lines: string[]): Promise<string> =>
  output(run(['ip', '-n', netns, '-batch', '-'], { input: `${lines.join('\n')}\n` }));

/** A namespace whose one wire is eth0 becomes a host: its address in a /24, and the way out. */
export const makeHost = (netns: string, address: string, gateway: string): Promise<string> =>
  ip(
    netns,
    'link set lo up',
    'link set eth0 up',
    `address add ${address}/24 dev eth0`,
    `route add default via ${gateway}`,
  );
