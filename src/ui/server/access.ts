/**
 * Who may use the page's server. It listens on the loopback, where every program of this machine and every page in a
 * browser of it can connect: they need the token. A page of another site must not reach it under a name of its own (DNS
 * rebinding), so the Host header has to be an address of the loopback; nor send requests from its own origin.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

/** Values of the Host header that mean this server. */
export function ownHosts(port: number): ReadonlySet<string> {
  return new Set(['127.0.0.1', 'localhost', '[::1]'].map((name) => `${name}:${port}`));
}

/** Compares without showing by its duration where two texts differ. */
export function sameSecret(given: string, secret: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(secret));
}

/** Cookies do not distinguish ports: two pages on this machine have two names. */
export const cookieName = (port: number): string => `dataplane-ui-${port}`;

/** The value of a cookie; undefined if the request has none of this name. */
export function cookieOf(header: string | undefined, name: string): string | undefined {
  for (const part of (header ?? '').split(';')) {
    const at = part.indexOf('=');
    if (at > 0 && part.slice(0, at).trim() === name) return part.slice(at + 1).trim();
  }
  return undefined;
}

/** Headers of every response: nothing is loaded from elsewhere, nothing is framed, nothing is kept. */
export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'Content-Security-Policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; '),
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'no-store',
};

export interface Refusal {
  readonly status: number;
  readonly text: string;
}

export interface Gate {
  readonly token: string;
  readonly port: number;
}

/** Why a request is refused; undefined if it may proceed. */
export function refusal({ headers }: IncomingMessage, { token, port }: Gate): Refusal | undefined {
  const hosts = ownHosts(port);
  if (!hosts.has((headers.host ?? '').toLowerCase())) {
    return {
      status: 403,
      text: `this server is not ${headers.host ?? 'without a name'}: use http://127.0.0.1:${port}`,
    };
  }
  if (headers.origin !== undefined && !hosts.has(headers.origin.toLowerCase().replace(/^http:\/\//, ''))) {
    return { status: 403, text: 'requests of other sites are refused' };
  }
  const cookie = cookieOf(headers.cookie, cookieName(port));
  if (cookie === undefined || !sameSecret(cookie, token)) {
    return { status: 401, text: 'the token is missing or wrong: open the address that `dataplane ui` printed' };
  }
  return undefined;
}
