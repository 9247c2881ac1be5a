/**
 * The keys that each type of Secret requires (pkg/apis/core/validation, ValidateSecret); the size limit of Secrets and
 * ConfigMaps.
 */
import type { FieldError } from '../errors.ts';
import type { ConfigMap, Secret } from '../types/objects.ts';
import { required } from './field-errors.ts';

/** MaxSecretSize, and the same for ConfigMaps (apis/core/types.go). */
const MAX_DATA_BYTES = 1024 * 1024;

type DataHolder = (ConfigMap | Secret) & Pick<ConfigMap, 'data' | 'binaryData'>;

export function checkDataSize(object: DataHolder): FieldError[] {
  const texts = Object.values(object.data ?? {});
  // Base64 of n bytes has 4n/3 characters.
  const bytesOf = (text: string, encoded: boolean) => (encoded ? (text.length * 3) / 4 : Buffer.byteLength(text));
  let size = texts.reduce((sum, text) => sum + bytesOf(text, object.kind === 'Secret'), 0);
  for (const text of Object.values(object.binaryData ?? {})) size += bytesOf(text, true);
  if (size <= MAX_DATA_BYTES) return [];
  return [{ path: 'data', message: `Too long: may not be more than ${MAX_DATA_BYTES} bytes` }];
}

/** Required keys by type of Secret: all keys of at least one of the lists. */
const KEYS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  'kubernetes.io/tls': [['tls.crt', 'tls.key']],
  'kubernetes.io/ssh-auth': [['ssh-privatekey']],
  'kubernetes.io/basic-auth': [['username'], ['password']],
  'kubernetes.io/dockercfg': [['.dockercfg']],
  'kubernetes.io/dockerconfigjson': [['.dockerconfigjson']],
};

export function checkSecret(secret: Secret): FieldError[] {
  const { type = 'Opaque', data = {}, metadata } = secret;
  const errors = checkDataSize(secret as DataHolder);
  const choices = KEYS[type] ?? [];
  if (!choices.some((keys) => keys.every((key) => data[key] !== undefined))) {
    for (const key of choices.flat()) if (data[key] === undefined) errors.push(required(`data[${key}]`));
  }
  if (type === 'kubernetes.io/dockerconfigjson' || type === 'kubernetes.io/dockercfg') {
    const [[key = ''] = []] = choices;
    if (data[key] !== undefined && !isJson(data[key])) {
      errors.push({ path: `data[${key}]`, message: 'Invalid value: "<secret contents redacted>": must be JSON' });
    }
  }
  const account = 'kubernetes.io/service-account.name';
  if (type === 'kubernetes.io/service-account-token' && !metadata.annotations?.[account]) {
    errors.push(required(`metadata.annotations[${account}]`));
  }
  return errors;
}

function isJson(base64: string): boolean {
  try {
    JSON.parse(Buffer.from(base64, 'base64').toString('utf8'));
    return true;
  } catch {
    return false;
  }
}
