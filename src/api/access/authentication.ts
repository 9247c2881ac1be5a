/**
 * Authentication: a user is identified by a client certificate (name from CN, groups from O) or a bearer token;
 * otherwise the request is anonymous. A request with an invalid token is refused even where an anonymous one would be
 * allowed, so that an expired token is noticed (apiserver/pkg/authentication/request/{x509,bearertoken,union}).
 */
import type { IncomingMessage } from 'node:http';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import { badRequest, forbiddenAction, unauthorized } from '../errors.ts';
import type { Authorize } from './authorization.ts';
import { ANONYMOUS, AUTHENTICATED, type User } from './user.ts';

/** The user a token was issued to; undefined when it is not valid. */
export type VerifyToken = (token: string) => Promise<User | undefined>;

/** WebSocket subprotocol that carries a token, for browsers: they cannot set headers on a WebSocket. */
const PROTOCOL_TOKEN = 'base64url.bearer.authorization.k8s.io.';

/** @throws ApiError 401 when the request has credentials that are not valid */
export async function authenticate(request: IncomingMessage, verifyToken: VerifyToken | undefined): Promise<User> {
  const byCertificate = certificateUser(request.socket as TLSSocket);
  if (byCertificate !== undefined) return byCertificate;
  const token = bearerToken(request);
  if (token === undefined) return ANONYMOUS;
  const user = await verifyToken?.(token);
  if (user === undefined) throw unauthorized();
  return user;
}

function certificateUser(socket: TLSSocket): User | undefined {
  // `authorized`: Node has verified the chain against our CA, and the validity period.
  if (socket.authorized !== true) return undefined;
  const certificate: PeerCertificate | undefined = socket.getPeerCertificate();
  // A field that occurs more than once is an array.
  const subject = (certificate?.subject ?? {}) as unknown as Record<string, string | string[]>;
  const [name] = [subject.CN ?? []].flat();
  return name ? { name, groups: [...[subject.O ?? []].flat(), AUTHENTICATED] } : undefined;
}

function bearerToken({ headers }: IncomingMessage): string | undefined {
  const match = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '');
  if (match !== null) return match[1];
  const protocols = (headers['sec-websocket-protocol'] ?? '').split(',').map((text) => text.trim());
  const encoded = protocols.find((text) => text.startsWith(PROTOCOL_TOKEN))?.slice(PROTOCOL_TOKEN.length);
  return encoded === undefined ? undefined : Buffer.from(encoded, 'base64url').toString();
}

/**
 * The user that `user` impersonates (`kubectl --as`); each name, group and extra field is authorized separately
 * (apiserver/pkg/endpoints/filters/impersonation.go).
 * @throws ApiError 400 or 403
 */
export function impersonate({ headers }: IncomingMessage, user: User, authorize: Authorize): User {
  const name = one(headers['impersonate-user']);
  const groups = many(headers['impersonate-group']);
  const uid = one(headers['impersonate-uid']);
  const extra: Record<string, string[]> = {};
  for (const [header, value] of Object.entries(headers)) {
    if (!header.startsWith('impersonate-extra-')) continue;
    extra[decodeURIComponent(header.slice('impersonate-extra-'.length))] = many(value);
  }
  if (name === undefined) {
    if (groups.length === 0 && uid === undefined && Object.keys(extra).length === 0) return user;
    throw badRequest('requested groups, UID or extra fields without impersonating a user');
  }
  const account = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(name);
  const subjects = [
    account === null
      ? { apiGroup: '', resource: 'users', name }
      : { apiGroup: '', resource: 'serviceaccounts', namespace: account[1]!, name: account[2]! },
    ...groups.map((group) => ({ apiGroup: '', resource: 'groups', name: group })),
    ...(uid === undefined ? [] : [{ apiGroup: 'authentication.k8s.io', resource: 'uids', name: uid }]),
    ...Object.entries(extra).flatMap(([key, values]) =>
      values.map((value) => ({
        apiGroup: 'authentication.k8s.io',
        resource: 'userextras',
        subresource: key,
        name: value,
      })),
    ),
  ];
  for (const subject of subjects) {
    const action = { verb: 'impersonate', ...subject };
    const decision = authorize(user, action);
    if (!decision.allowed) throw forbiddenAction(user.name, action, decision.reason);
  }
  const own = account === null ? [] : ['system:serviceaccounts', `system:serviceaccounts:${account[1]}`];
  const all = groups.length > 0 ? groups : own;
  const known = all.includes(AUTHENTICATED) || name === ANONYMOUS.name ? all : [...all, AUTHENTICATED];
  return {
    name,
    groups: name === ANONYMOUS.name && groups.length === 0 ? ANONYMOUS.groups : known,
    ...(uid !== undefined && { uid }),
    ...(Object.keys(extra).length > 0 && { extra }),
  };
}

const many = (value: string | string[] | undefined): string[] =>
  value === undefined ? [] : [value].flat().flatMap((text) => text.split(/, */));
const one = (value: string | string[] | undefined): string | undefined => [value].flat()[0] || undefined;
