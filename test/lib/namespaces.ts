/** Network namespaces that act as other machines in tests, configured by iproute2. */
import { output, run } from './cluster.ts';

export async function addNamespaces(...names: string[]): Promise<void> {
  for (const name of names) await output(run(['ip', 'netns', 'add', name]));
}

/** Removes namespaces with everything in them; missing ones are skipped. */
export async function removeNamespaces(...names: string[]): Promise<void> {
  for (const name of names) await run(['ip', 'netns', 'del', name]);
}

/** Runs lines of `ip -batch` in a namespace. @throws Error at the first that fails */
export const ip = (netns: string, ...lines: string[]): Promise<string> =>
  output(run(['ip', '-n', netns, '-batch', '-'], { input: `${lines.join('\n')}\n` }));

/** Configures a namespace with a single link eth0 as a host: its address in a /24, and the default route. */
export const makeHost = (netns: string, address: string, gateway: string): Promise<string> =>
  ip(
    netns,
    'link set lo up',
    'link set eth0 up',
    `address add ${address}/24 dev eth0`,
    `route add default via ${gateway}`,
  );
