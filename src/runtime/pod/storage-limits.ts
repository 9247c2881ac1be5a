/**
 * The storage that a pod may use on its node: sizeLimit of an emptyDir, limits of `ephemeral-storage`, and what is left of
 * the node's own. A pod that uses more is evicted (kubelet, pkg/kubelet/eviction, localStorageEviction): its containers
 * are killed, its files removed, its phase is Failed. Pure; the texts are kubelet's.
 */
import { podResources } from '../../api/pod-resources.ts';
import { Quantity } from '../../api/quantity.ts';
import type { Pod } from '../../api/types/objects.ts';

/** Bytes that the parts of a pod use. */
export interface StorageUsage {
  /** By name of the emptyDir. */
  volumes: ReadonlyMap<string, number>;
  /** By name of the container: its logs. */
  logs: ReadonlyMap<string, number>;
}

export const totalOf = ({ volumes, logs }: StorageUsage): number =>
  [...volumes.values(), ...logs.values()].reduce((sum, bytes) => sum + bytes, 0);

/** Does the manifest limit anything of this? */
export const limitsStorage = ({ spec }: Pod): boolean =>
  (spec.volumes ?? []).some(({ emptyDir }) => Quantity.positive(emptyDir?.sizeLimit) !== undefined) ||
  spec.containers.some(({ resources }) => resources?.limits?.[STORAGE] !== undefined);

const STORAGE = 'ephemeral-storage';

/** Why the pod is evicted; undefined if it is within its limits. */
export function exceeded({ spec }: Pod, usage: StorageUsage): string | undefined {
  for (const { name, emptyDir } of spec.volumes ?? []) {
    const limit = Quantity.positive(emptyDir?.sizeLimit);
    // A volume in memory cannot grow beyond its limit: it is a file system of that size.
    if (limit === undefined || emptyDir?.medium === 'Memory') continue;
    if ((usage.volumes.get(name) ?? 0) > limit.value) {
      return `Usage of EmptyDir volume "${name}" exceeds the limit "${limit}". `;
    }
  }
  for (const { name, resources } of spec.containers) {
    const limit = Quantity.positive(resources?.limits?.[STORAGE]);
    if (limit !== undefined && (usage.logs.get(name) ?? 0) > limit.value) {
      return `Container ${name} exceeded its local ephemeral storage limit "${limit}". `;
    }
  }
  const whole = podResources(spec, 'limits')[STORAGE];
  const everyOne = spec.containers.every(({ resources }) => Quantity.positive(resources?.limits?.[STORAGE]));
  if (whole !== undefined && everyOne && totalOf(usage) > whole.value) {
    return `Pod ephemeral local storage usage exceeds the total limit of containers ${whole}. `;
  }
  return undefined;
}

/** kubelet evicts for lack of room when less than a tenth is left (eviction-hard, nodefs.available). */
const LEAST_FREE = 0.1;

/** The message for the pod that uses most, when too little is left; undefined if there is enough. */
export function nodeShort(totalBytes: number, freeBytes: number): string | undefined {
  const threshold = totalBytes * LEAST_FREE;
  if (freeBytes >= threshold) return undefined;
  const text = (bytes: number) => String(Quantity.ofBytes(bytes));
  return (
    `The node was low on resource: ${STORAGE}. Threshold quantity: ${text(threshold)}, ` +
    `available: ${text(freeBytes)}. `
  );
}
