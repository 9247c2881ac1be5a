/** Requests for certificates (k8s.io/kubernetes/pkg/apis/certificates/validation). */
import { X509Certificate } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { FieldError } from '../errors.ts';
import type { CertificateSigningRequest, SigningCondition, WrittenPart } from '../types/objects.ts';
import { duplicate, forbidden, invalid, notSupported, required } from './field-errors.ts';
import { decodeCertificateRequest } from './pkcs10.ts';

const LEGACY_SIGNER = 'kubernetes.io/legacy-unknown';
const MIN_SECONDS = 600;

/** Conditions that are never withdrawn. */
const FINAL = ['Approved', 'Denied', 'Failed'];
const CONDITIONS = 'status.conditions';

export function checkSigningRequest({ spec, status }: CertificateSigningRequest): FieldError[] {
  const { request, usages = [], signerName, expirationSeconds } = spec;
  const errors: FieldError[] = [];
  try {
    decodeCertificateRequest(request);
  } catch (error) {
    errors.push(invalid('spec.request', request, (error as Error).message));
  }
  if (usages.length === 0) errors.push(required('spec.usages'));
  for (const [i, usage] of usages.entries()) {
    if (usages.indexOf(usage) < i) errors.push(duplicate(`spec.usages[${i}]`, usage));
  }
  errors.push(...checkSignerName(signerName));
  if (expirationSeconds !== undefined && expirationSeconds < MIN_SECONDS) {
    const why = `may not specify a duration less than ${MIN_SECONDS} seconds (10 minutes)`;
    errors.push(invalid('spec.expirationSeconds', expirationSeconds, why));
  }
  errors.push(...checkConditions(status?.conditions ?? []));
  const why = status?.certificate && whyNoCertificate(Buffer.from(status.certificate, 'base64').toString('latin1'));
  if (why) errors.push(invalid('status.certificate', '<certificate data>', why));
  return errors;
}

function checkSignerName(name: string): FieldError[] {
  const path = 'spec.signerName';
  if (name === '') return [required(path)];
  if (name === LEGACY_SIGNER) return [invalid(path, name, 'the legacy signerName is not allowed via this API version')];
  const [domain = '', rest = '', ...more] = name.split('/');
  if (rest === '' || more.length > 0) {
    return [invalid(path, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'")];
  }
  const label = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
  for (const part of [domain, rest]) {
    const wrong = part.split('.').find((each) => !label.test(each));
    if (wrong === undefined) continue;
    const why =
      "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
    return [invalid(path, part, `validating label ${JSON.stringify(wrong)}: ${why}`)];
  }
  if (domain.includes('.')) return [];
  return [invalid(path, domain, 'should be a domain with at least two segments separated by dots')];
}

function checkConditions(conditions: readonly SigningCondition[]): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  for (const [i, { type, status }] of conditions.entries()) {
    const allowed = FINAL.includes(type) ? ['True'] : ['False', 'True', 'Unknown'];
    if (type === '') errors.push(required(`${CONDITIONS}[${i}].type`));
    if (!status) errors.push(required(`${CONDITIONS}[${i}].status`));
    else if (!allowed.includes(status)) errors.push(notSupported(`${CONDITIONS}[${i}].status`, status, allowed));
    const other = type === 'Approved' ? 'Denied' : type === 'Denied' ? 'Approved' : undefined;
    if (other !== undefined && seen.has(other)) {
      errors.push(invalid(CONDITIONS, type, 'Approved and Denied conditions are mutually exclusive'));
    }
    if (seen.has(type)) errors.push(duplicate(`${CONDITIONS}[${i}].type`, type));
    seen.add(type);
  }
  return errors;
}

function whyNoCertificate(pem: string): string | undefined {
  const blocks = [...pem.matchAll(/-----BEGIN ([^-\n]+)-----[\s\S]*?-----END \1-----/g)];
  if (blocks.length === 0) return 'must contain at least one CERTIFICATE PEM block';
  for (const [text, type] of blocks) {
    if (type !== 'CERTIFICATE') return `only CERTIFICATE PEM blocks are allowed, found ${JSON.stringify(type)}`;
    try {
      new X509Certificate(text);
    } catch (error) {
      return (error as Error).message;
    }
  }
  return undefined;
}

/** Approvals are given and taken through /approval only, certificates through /status only; both are final. */
export function checkSigningRequestUpdate(
  { status }: CertificateSigningRequest,
  { status: old }: CertificateSigningRequest,
  subresource: WrittenPart | undefined,
): FieldError[] {
  const errors: FieldError[] = [];
  const of = (conditions: readonly SigningCondition[] | undefined, type: string) =>
    (conditions ?? []).filter((condition) => condition.type === type);
  for (const type of FINAL) {
    const before = of(old?.conditions, type);
    const after = of(status?.conditions, type);
    const quoted = `a condition of type ${JSON.stringify(type)}`;
    if (after.length < before.length) errors.push(forbidden(CONDITIONS, `updates may not remove ${quoted}`));
    else if (subresource !== 'approval' && type !== 'Failed') {
      if (after.length > before.length) errors.push(forbidden(CONDITIONS, `updates may not add ${quoted}`));
      else if (!isDeepStrictEqual(before, after)) {
        errors.push(forbidden(CONDITIONS, `updates may not modify ${quoted}`));
      }
    }
  }
  if ((status?.certificate ?? '') !== (old?.certificate ?? '')) {
    if (subresource !== 'status')
      errors.push(forbidden('status.certificate', 'updates may not set certificate content'));
    else if (old?.certificate) {
      errors.push(forbidden('status.certificate', 'updates may not modify existing certificate content'));
    }
  }
  return errors;
}
