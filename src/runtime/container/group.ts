/** The control group of one instance of a container, from its start until it has ended. */
import type { Container } from '../../api/types/objects.ts';
import type { PodContext } from '../pod/context.ts';
import type { ContainerRecord } from '../state.ts';
import { StartError } from './process.ts';

/** @returns the files by which its first process joins the group. @throws StartError */
export function makeGroup(
  { groups, podDir, pod, save }: PodContext,
  record: ContainerRecord,
  spec: Container,
): string[] {
  try {
    const path = groups.make(podDir, pod, spec, record.instances);
    if (path === undefined) delete record.group;
    else record.group = path;
  } catch (error) {
    throw new StartError(`cannot create its control group: ${(error as Error).message}`);
  }
  save();
  return groups.joinFiles(record.group);
}

/** Was one of its processes killed for want of memory? Text for an event; undefined if not. */
export function whyOutOfMemory({ groups }: PodContext, record: ContainerRecord, spec: Container): string | undefined {
  if (!groups.ranOutOfMemory(record.group)) return undefined;
  const limit = spec.resources?.limits?.memory;
  const what = limit === undefined ? 'the memory limit of the pod' : `its memory limit of ${limit}`;
  return `Container ${spec.name} has reached ${what}: the kernel killed a process of it`;
}

export function removeGroup({ groups, log }: PodContext, record: ContainerRecord): void {
  if (record.group === undefined) return;
  groups.remove(record.group).catch((error: Error) => log(error.message));
  delete record.group;
}
