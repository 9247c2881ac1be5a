/** Is a pod in a state in which it can be an end of a connection? */
import type { NodeObject, Pod } from '../../api/types/objects.ts';
import { type Check, fail, pass } from './check.ts';

const nameOf = ({ metadata }: Pod): string => `pod ${metadata.namespace ?? 'default'}/${metadata.name}`;

/** @param pod undefined: there is none of that name */
export function checkPod(pod: Pod | undefined, name: string, namespace: string): Check {
  if (pod === undefined) return fail('pod', `there is no pod ${name} in namespace ${namespace}`);
  const phase = pod.status?.phase ?? 'Pending';
  if (phase !== 'Running') {
    const waiting = whyNotReady(pod);
    return fail('pod', `${nameOf(pod)} is ${phase}${waiting === undefined ? '' : `: ${waiting}`}`);
  }
  return pass('pod', `${nameOf(pod)} runs on ${pod.spec.nodeName} with address ${pod.status?.podIP}`);
}

/** The first reason why a pod is not Ready, in words; undefined if it is, or if none is known. */
export function whyNotReady({ status, metadata }: Pod): string | undefined {
  if (metadata.deletionTimestamp !== undefined) return 'it is being deleted';
  for (const { name, ready, state } of [
    ...(status?.initContainerStatuses ?? []),
    ...(status?.containerStatuses ?? []),
  ]) {
    if (state?.waiting?.reason) return `container ${name} waits: ${state.waiting.reason}`;
    if (state?.terminated && state.terminated.exitCode !== 0)
      return `container ${name} exited with status ${state.terminated.exitCode}`;
    if (!ready && state?.running) return `container ${name} is not ready (see its readiness probe)`;
  }
  const condition = status?.conditions?.find(({ type, status: is }) => type !== 'Ready' && is === 'False');
  return condition?.message || condition?.reason;
}

/** @param name of the node; undefined: the end is not on a node */
export function checkNode(nodes: readonly NodeObject[], name: string | undefined): Check[] {
  const node = nodes.find(({ metadata }) => metadata.name === name);
  if (node === undefined) return [];
  const ready = node.status?.conditions?.find(({ type }) => type === 'Ready');
  if (ready?.status === 'True') return [pass('node', `node ${name} is Ready`)];
  const why = ready?.message || ready?.reason || 'it has never reported';
  return [fail('node', `node ${name} is not Ready: ${why.replace(/\.$/, '')}`)];
}
