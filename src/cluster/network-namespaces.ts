/** Names of the cluster's network namespaces on this machine (`ip netns`). */
import { existsSync } from 'node:fs';
import { namespacePath } from '../linux/netns.ts';
import { netnsNameOf } from '../runtime/pod/sandbox.ts';

/** The network outside of the cluster, which all nodes are attached to. */
export const OUTSIDE = 'dp-outside';

export const nodeNetns = (node: string): string => `dp-node-${node}`;

/** Where a program can run, or a connection come from. */
export type Place =
  | { readonly kind: 'outside' }
  | { readonly kind: 'node'; readonly name: string }
  | { readonly kind: 'pod'; readonly name: string; readonly namespace: string };

/** Path of the network namespace of a place; undefined if there is none on this machine. */
export function networkNamespaceOf(place: Place): string | undefined {
  const path = namespacePath(nameOf(place));
  return existsSync(path) ? path : undefined;
}

function nameOf(place: Place): string {
  if (place.kind === 'outside') return OUTSIDE;
  return place.kind === 'node' ? nodeNetns(place.name) : netnsNameOf(place.namespace, place.name);
}
