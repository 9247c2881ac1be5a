/** Errors of fields with the API server's texts (k8s.io/apimachinery/pkg/util/validation/field/errors.go). */
import type { FieldError } from '../errors.ts';

export const IMMUTABLE = 'field is immutable';
export const NOT_AN_ADDRESS = 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)';
export const NOT_A_CIDR = 'must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)';

export const required = (path: string, why = ''): FieldError => ({
  path,
  message: why === '' ? 'Required value' : `Required value: ${why}`,
  reason: 'FieldValueRequired',
});

export const forbidden = (path: string, why: string): FieldError => ({
  path,
  message: `Forbidden: ${why}`,
  reason: 'FieldValueForbidden',
});

export const invalid = (path: string, value: unknown, why: string): FieldError => ({
  path,
  message: `Invalid value: ${JSON.stringify(value)}: ${why}`,
});

export const duplicate = (path: string, value: unknown): FieldError => ({
  path,
  message: `Duplicate value: ${JSON.stringify(value)}`,
  reason: 'FieldValueDuplicate',
});

export const notFound = (path: string, value: unknown): FieldError => ({
  path,
  message: `Not found: ${JSON.stringify(value)}`,
  reason: 'FieldValueNotFound',
});

export const notSupported = (path: string, value: unknown, supported: readonly string[]): FieldError => ({
  path,
  message: `Unsupported value: ${JSON.stringify(value)}: supported values: ${supported.map((each) => `"${each}"`).join(', ')}`,
  reason: 'FieldValueNotSupported',
});

export const tooMany = (path: string, count: number, most: number): FieldError => ({
  path,
  message: `Too many: ${count}: must have at most ${most} items`,
});
