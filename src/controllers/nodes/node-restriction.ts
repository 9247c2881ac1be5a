/**
 * A node creates only its own Node and Lease: requests to create carry the name in the object, which authorization does
 * not see (plugin/pkg/admission/noderestriction).
 */
import { nodeOfUser } from '../../api/access/machines.ts';
import { forbidden } from '../../api/errors.ts';
import { resourceOfKind } from '../../api/resources.ts';
import type { Admission, WriteRequest } from '../../api/store/registry.ts';
import type { KubeObject, Lease } from '../../api/types/objects.ts';

/** @throws ApiError 403 if another node than the object's creates it */
export function checkCreator(object: KubeObject, old: KubeObject | undefined, { by }: WriteRequest): void {
  const node = by && nodeOfUser(by.user);
  const { name } = object.metadata;
  if (old !== undefined || node === undefined || node === name) return;
  throw forbidden(resourceOfKind(object.kind)!, name, `node "${node}" is not allowed to create objects of other nodes`);
}

export const leaseAdmission: Admission<Lease> = {
  admit(lease, old, _subresource, request) {
    checkCreator(lease, old, request);
    return lease;
  },
};
