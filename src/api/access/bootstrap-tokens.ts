/**
 * Bootstrap tokens: by them, machines that have no certificate yet ask for one. They are Secrets of kube-system, as in
 * Kubernetes (plugin/pkg/auth/authenticator/token/bootstrap), so that kubectl and kubeadm list, create and delete them.
 */
import { randomInt, timingSafeEqual } from 'node:crypto';
import { unauthorized } from '../errors.ts';
import type { Store } from '../store/store.ts';
import type { Secret } from '../types/objects.ts';
import { AUTHENTICATED, BOOTSTRAPPERS, type User } from './user.ts';

export const TOKEN_NAMESPACE = 'kube-system';
export const TOKEN_TYPE = 'bootstrap.kubernetes.io/token';
const NAME_PREFIX = 'bootstrap-token-';
/** Identifier, which is public, and secret (cluster-bootstrap/token/api, BootstrapTokenPattern). */
const TOKEN = /^([a-z0-9]{6})\.([a-z0-9]{16})$/;

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789';

export interface BootstrapToken {
  readonly id: string;
  readonly secret: string;
}

/** The parts of a token; undefined for other texts. */
export function parseToken(text: string): BootstrapToken | undefined {
  const [, id, secret] = TOKEN.exec(text) ?? [];
  return id === undefined || secret === undefined ? undefined : { id, secret };
}

/** The identifier in a token, or the identifier itself; undefined for other texts. */
export const parseTokenId = (text: string): string | undefined =>
  parseToken(text)?.id ?? (/^[a-z0-9]{6}$/.test(text) ? text : undefined);

/** A new token. */
export function newToken(): BootstrapToken {
  const text = (length: number): string => Array.from({ length }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');
  return { id: text(6), secret: text(16) };
}

/** The name of its Secret. */
export const tokenSecretName = (id: string): string => NAME_PREFIX + id;

/** The value of a key of a Secret. */
export function secretText({ data }: Secret, key: string): string | undefined {
  const value = data?.[key];
  return value === undefined ? undefined : Buffer.from(value, 'base64').toString('utf8');
}

/** @returns milliseconds since the epoch; Infinity for a token that does not expire, -Infinity for a time that is none */
export function expiryOf(secret: Secret): number {
  const text = secretText(secret, 'expiration');
  if (text === undefined) return Number.POSITIVE_INFINITY;
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? Number.NEGATIVE_INFINITY : ms;
}

/** Is it the Secret of a token? */
export const isTokenSecret = ({ type, metadata }: Secret): boolean =>
  type === TOKEN_TYPE && metadata.namespace === TOKEN_NAMESPACE && metadata.name.startsWith(NAME_PREFIX);

/**
 * The user that a bootstrap token stands for; undefined if the text is none, or not one of this cluster.
 * @throws ApiError 401 that says so for a token that has expired: who has it may know
 */
export function bootstrapUser(store: Store, text: string, nowMs: number): User | undefined {
  const token = parseToken(text);
  if (token === undefined) return undefined;
  const secret = store.get('Secret', TOKEN_NAMESPACE, tokenSecretName(token.id));
  if (secret === undefined || !isTokenSecret(secret) || secret.metadata.deletionTimestamp !== undefined)
    return undefined;
  if (secretText(secret, 'token-id') !== token.id || !sameText(secretText(secret, 'token-secret'), token.secret)) {
    return undefined;
  }
  if (secretText(secret, 'usage-bootstrap-authentication') !== 'true') return undefined;
  if (expiryOf(secret) <= nowMs) throw unauthorized(`Unauthorized: bootstrap token ${token.id} has expired`);
  return { name: `system:bootstrap:${token.id}`, groups: [BOOTSTRAPPERS, AUTHENTICATED] };
}

function sameText(one: string | undefined, other: string): boolean {
  const [a, b] = [Buffer.from(one ?? ''), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}
