/**
 * Computes how to change the existing slices into the desired ones with as few writes as possible: endpoints stay in
 * their slice, new ones go into the fullest slice with room, and only then is a new slice created. Pure.
 */
import { isDeepStrictEqual } from 'node:util';
import type { EndpointSlice, SliceEndpoint } from '../../api/types/objects.ts';
import { type EndpointGroup, groupKey } from './endpoint-groups.ts';

/** kube-controller-manager's default for --max-endpoints-per-slice. */
const MAX_PER_SLICE = 100;

export interface SlicePlan {
  create: EndpointGroup[];
  update: { slice: EndpointSlice; endpoints: SliceEndpoint[] }[];
  remove: EndpointSlice[];
}

const identity = ({ addresses, targetRef }: SliceEndpoint) => `${addresses[0]} ${targetRef?.uid ?? ''}`;

/** `slices` are those that one owner manages; the plan only updates those whose endpoints differ. */
export function planSlices(slices: readonly EndpointSlice[], groups: readonly EndpointGroup[]): SlicePlan {
  const plan: SlicePlan = { create: [], update: [], remove: [] };
  const byKey = new Map<string, EndpointSlice[]>();
  for (const slice of slices) {
    const key = groupKey(slice.addressType, slice.ports);
    byKey.set(key, [...(byKey.get(key) ?? []), slice]);
  }
  for (const group of groups) {
    const key = groupKey(group.addressType, group.ports);
    planGroup(byKey.get(key) ?? [], group, plan);
    byKey.delete(key);
  }
  for (const rest of byKey.values()) plan.remove.push(...rest);
  return plan;
}

function planGroup(slices: readonly EndpointSlice[], group: EndpointGroup, plan: SlicePlan): void {
  const wanted = new Map(group.endpoints.map((e) => [identity(e), e]));
  const kept = slices.map((slice) => {
    const endpoints: SliceEndpoint[] = [];
    for (const old of slice.endpoints) {
      const id = identity(old);
      const now = wanted.get(id);
      if (now === undefined) continue;
      wanted.delete(id);
      endpoints.push(isDeepStrictEqual(old, now) ? old : now);
    }
    return { slice, endpoints };
  });
  const fresh = [...wanted.values()];
  for (const { endpoints } of [...kept].sort((a, b) => b.endpoints.length - a.endpoints.length)) {
    const room = MAX_PER_SLICE - endpoints.length;
    if (room > 0) endpoints.push(...fresh.splice(0, room));
  }
  // A service without endpoints has a group without endpoints: one empty slice represents it.
  let placeholder = group.endpoints.length === 0;
  for (const { slice, endpoints } of kept) {
    if (endpoints.length === 0 && !placeholder) plan.remove.push(slice);
    else if (!sameList(slice.endpoints, endpoints)) plan.update.push({ slice, endpoints });
    if (endpoints.length === 0) placeholder = false;
  }
  if (placeholder) plan.create.push(group);
  for (let i = 0; i < fresh.length; i += MAX_PER_SLICE) {
    plan.create.push({ ...group, endpoints: fresh.slice(i, i + MAX_PER_SLICE) });
  }
}

const sameList = (a: readonly SliceEndpoint[], b: readonly SliceEndpoint[]) =>
  a.length === b.length && a.every((endpoint, i) => endpoint === b[i]);
