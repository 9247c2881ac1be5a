/** The targets by name. Each is loaded when it is used, so that coverage is counted from the first line of its code. */
import type { FuzzTarget } from './target.ts';

const TARGETS: Readonly<Record<string, () => Promise<{ readonly target: FuzzTarget }>>> = {
  pipeline: () => import('./targets/pipeline.ts'),
  streams: () => import('./targets/streams.ts'),
  bundle: () => import('./targets/bundle.ts'),
  'virtio-headers': () => import('./targets/virtio-headers.ts'),
  printers: () => import('./targets/printers.ts'),
  captures: () => import('./targets/captures.ts'),
  filters: () => import('./targets/filters.ts'),
  manifests: () => import('./targets/manifests.ts'),
  patches: () => import('./targets/patches.ts'),
  api: () => import('./targets/api.ts'),
  dns: () => import('./targets/dns.ts'),
  cni: () => import('./targets/cni.ts'),
  sockets: () => import('./targets/sockets.ts'),
};

export const TARGET_NAMES: readonly string[] = Object.keys(TARGETS);

export async function loadTarget(name: string): Promise<FuzzTarget> {
  const load = TARGETS[name];
  if (load === undefined) throw new Error(`no fuzz target ${name}`);
  return (await load()).target;
}
