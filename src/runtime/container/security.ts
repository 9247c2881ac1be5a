/** Supported fields of `securityContext`: runAsUser, runAsGroup, privileged, capabilities. */
import type { Container, Pod } from '../../api/types/objects.ts';
import { DEFAULT_CAPABILITIES } from './launch-script.ts';

interface SecurityContext {
  runAsUser?: number;
  runAsGroup?: number;
  privileged?: boolean;
  capabilities?: { add?: string[]; drop?: string[] };
}

const contextOf = (object: object): SecurityContext =>
  (object as { securityContext?: SecurityContext }).securityContext ?? {};

/** The container's value, else the pod's; undefined means root. */
export function userOf(pod: Pod, container: Container): { user: number | undefined; group: number | undefined } {
  const own = contextOf(container);
  const common = contextOf(pod.spec);
  return { user: own.runAsUser ?? common.runAsUser, group: own.runAsGroup ?? common.runAsGroup };
}

/** Names without `cap_`; undefined means all of them. */
export function capabilitiesOf(container: Container): readonly string[] | undefined {
  const { privileged, capabilities } = contextOf(container);
  if (privileged === true || capabilities?.add?.includes('ALL')) return undefined;
  const plain = (names: string[] | undefined) => (names ?? []).map((name) => name.toLowerCase().replace(/^cap_/, ''));
  const dropped = new Set(plain(capabilities?.drop));
  const kept = dropped.has('all') ? [] : DEFAULT_CAPABILITIES.filter((name) => !dropped.has(name));
  return [...new Set([...kept, ...plain(capabilities?.add)])];
}
