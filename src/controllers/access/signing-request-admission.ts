/**
 * Admission of CertificateSigningRequests (registry/certificates/certificates/strategy.go, plugin/pkg/admission/
 * certificates): who asks is recorded, what is asked never changes, and approving or signing needs the permission for
 * the signer in addition to that for the subresource.
 */
import { isDeepStrictEqual } from 'node:util';
import { forbidden } from '../../api/errors.ts';
import { resourceOfKind } from '../../api/resources.ts';
import { decodeCertificateRequest } from '../../api/rules/pkcs10.ts';
import type { Admission, WriteRequest } from '../../api/store/registry.ts';
import { nowText } from '../../api/store/store.ts';
import type { CertificateSigningRequest, SigningCondition } from '../../api/types/objects.ts';
import { CLIENT_SIGNER } from './certificate-signers.ts';

const RESOURCE = resourceOfKind('CertificateSigningRequest')!;
const MASTERS = 'system:masters';

export const signingRequestAdmission: Admission<CertificateSigningRequest> = {
  prepare(object, old, { by, subresource }) {
    if (old === undefined) {
      const { request, signerName, usages, expirationSeconds } = object.spec;
      const spec = {
        request,
        signerName,
        ...(expirationSeconds !== undefined && { expirationSeconds }),
        ...(usages && { usages }),
        ...(by && {
          username: by.user.name,
          ...(by.user.uid && { uid: by.user.uid }),
          groups: by.user.groups,
          ...(by.user.extra && { extra: by.user.extra }),
        }),
      };
      return { ...object, spec, status: {} };
    }
    const { spec } = old;
    if (subresource === undefined) return { ...object, spec, ...(old.status && { status: old.status }) };
    const conditions = withTimes(object.status?.conditions, old.status?.conditions);
    const certificate = (subresource === 'approval' ? old : object).status?.certificate;
    return { ...object, spec, status: { ...(conditions && { conditions }), ...(certificate && { certificate }) } };
  },

  admit(object, old, subresource, request) {
    const { name } = object.metadata;
    const { signerName } = (old ?? object).spec;
    if (old === undefined && signerName === CLIENT_SIGNER) {
      if (decodeCertificateRequest(object.spec.request).organizations.includes(MASTERS)) {
        throw forbidden(RESOURCE, name, `use of ${CLIENT_SIGNER} signer with ${MASTERS} group is not allowed`);
      }
    }
    const changed = !isDeepStrictEqual(object.status ?? {}, old?.status ?? {});
    const verb = subresource === 'approval' ? 'approve' : subresource === 'status' && changed ? 'sign' : undefined;
    if (verb !== undefined && !mayAct(request, verb, signerName)) {
      throw forbidden(RESOURCE, name, `user not permitted to ${verb} requests with signerName "${signerName}"`);
    }
    return object;
  },
};

/** Permission for the signer, or for all signers of its domain. */
function mayAct({ by }: WriteRequest, verb: string, signerName: string): boolean {
  if (by === undefined) return true;
  const domain = `${signerName.split('/')[0]}/*`;
  const allowed = (name: string) => by.may({ verb, apiGroup: RESOURCE.group, resource: 'signers', name });
  return allowed(signerName) || allowed(domain);
}

function withTimes(
  conditions: SigningCondition[] | undefined,
  old: readonly SigningCondition[] = [],
): SigningCondition[] | undefined {
  const now = nowText();
  return conditions?.map((condition) => {
    const same = old.find(({ type, status }) => type === condition.type && status === condition.status);
    return {
      ...condition,
      lastUpdateTime: condition.lastUpdateTime ?? now,
      lastTransitionTime: condition.lastTransitionTime ?? same?.lastTransitionTime ?? now,
    };
  });
}
