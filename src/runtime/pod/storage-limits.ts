/**
 * The storage that a pod may use on its node: sizeLimit of an emptyDir, limits of `ephemeral-storage`, and what is left of
 * the node's own. A pod that uses more is evicted (kubelet, pkg/kubelet/eviction, localStorageEviction): its containers
 * are killed, its files removed, its phase is Failed. Pure; the texts are kubelet's.
 */
import { podResources } from '../../api/pod-resources.ts';
import { Quantity } from '../../api/quantity.ts';
import type { Pod } from '../../api/types/objects.ts';
import type { Counted } from '../../linux/disk-usage.ts';

/** Bytes that the parts of a pod use. */
export interface StorageUsage {
  /** By name of the emptyDir. */
  volumes: ReadonlyMap<string, number>;
  /** By name of the container: its logs. */
  logs: ReadonlyMap<string, number>;
}

const totalOf = ({ volumes, logs }: StorageUsage): number =>
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

/** Room in a file system, in bytes or in files. */
export interface Room {
  readonly counted: Counted;
  readonly total: number;
  readonly free: number;
}

/** kubelet's defaults (eviction-hard): nodefs.available below a tenth, nodefs.inodesFree below a twentieth. */
const LEAST_FREE: Readonly<Record<Counted, number>> = { bytes: 0.1, inodes: 0.05 };
const RESOURCE: Readonly<Record<Counted, string>> = { bytes: STORAGE, inodes: 'inodes' };

/** An amount as the texts have it. */
const amountText = (counted: Counted, amount: number): string =>
  String(counted === 'bytes' ? Quantity.ofBytes(amount) : amount);

/** A file system without a limit of its files has a total of 0. */
export const isShort = ({ counted, total, free }: Room): boolean => free < total * LEAST_FREE[counted];

/** The message for the pod that uses most. */
export function evictionMessage({ counted, total, free }: Room, used: number): string {
  const text = (amount: number) => amountText(counted, amount);
  return (
    `The node was low on resource: ${RESOURCE[counted]}. Threshold quantity: ${text(Math.ceil(total * LEAST_FREE[counted]))}, ` +
    `available: ${text(free)}. The pod was using ${text(used)}. `
  );
}

/** The message of the node's condition meanwhile. */
export function pressureMessage({ counted, total, free }: Room, directory: string): string {
  const text = (amount: number) => amountText(counted, amount);
  const what = counted === 'bytes' ? '' : ' files';
  return `${text(free)} of ${text(total)}${what} are free where ${directory} is: the pod that uses most is evicted`;
}
