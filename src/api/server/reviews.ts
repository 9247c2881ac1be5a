/**
 * SelfSubjectReview, the access reviews, TokenReview, and TokenRequest for a service account's token
 * (registry/authentication, registry/authorization, registry/core/serviceaccount/storage/token.go).
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Action, Authorize } from '../access/authorization.ts';
import type { RulesOf } from '../access/rbac.ts';
import type { TokenIssuer } from '../access/service-account-tokens.ts';
import type { User } from '../access/user.ts';
import { asText, badRequest, conflict, invalid, methodNotAllowed, notFound } from '../errors.ts';
import { apiVersionOf, type Resource, resourceOfKind } from '../resources.ts';
import { REVIEWS } from '../reviews.ts';
import type { Store } from '../store/store.ts';
import { nowText } from '../store/store.ts';
import type { KubeObject, Pod } from '../types/objects.ts';
import { replyValue } from './call.ts';
import { parseObject, readBody } from './request-body.ts';

const DEFAULT_SECONDS = 3600;
/** Expiration as in kube-apiserver: at least ten minutes, at most 2^32 seconds. */
const MIN_SECONDS = 600;
const MAX_SECONDS = 2 ** 32;

export interface ReviewOptions {
  store: Store;
  authorize: Authorize;
  rulesOf: RulesOf;
  tokens: TokenIssuer | undefined;
}

type Body = Record<string, unknown> & { spec?: Record<string, unknown>; metadata?: KubeObject['metadata'] };
/** What is sent back. */
type Answered = Record<string, unknown> & { apiVersion: string; kind: string };
type Answer = (user: User, body: Body, namespace: string | undefined) => object | Promise<object>;

export class Reviews {
  private readonly options: ReviewOptions;
  private readonly answers: Readonly<Record<string, Answer>>;

  constructor(options: ReviewOptions) {
    this.options = options;
    this.answers = {
      SelfSubjectReview: (user) => ({ userInfo: userInfo(user) }),
      SelfSubjectAccessReview: (user, body) => this.access(user, body),
      SubjectAccessReview: (_user, body) => this.access(subject(body), body),
      LocalSubjectAccessReview: (_user, body, namespace) => this.localAccess(body, namespace),
      SelfSubjectRulesReview: (user, body) => this.options.rulesOf(user, String(body.spec?.namespace ?? 'default')),
      TokenReview: (_user, body) => this.token(body),
    };
  }

  /** Serves the request if it is one of these; false otherwise. Rejects with ApiError. */
  async serve(request: IncomingMessage, response: ServerResponse, user: User): Promise<boolean> {
    const path = (request.url ?? '/').split('?')[0]!;
    const token = /^\/api\/v1\/namespaces\/([^/]+)\/serviceaccounts\/([^/]+)\/token$/.exec(path);
    if (token !== null) {
      this.onlyPost(request);
      const body = (await parseObject(request, await readBody(request))) as Body;
      const [, namespace = '', name = ''] = token.map(decodeURIComponent);
      replyValue(response, 201, await this.issue(namespace, name, body));
      return true;
    }
    const match = /^\/apis\/(authentication|authorization)\.k8s\.io\/v1\/(?:namespaces\/([^/]+)\/)?([a-z]+)$/.exec(
      path,
    );
    const review = REVIEWS.find((r) => r.group.startsWith(match?.[1] ?? ' ') && r.plural === match?.[3]);
    if (review === undefined) return false;
    this.onlyPost(request);
    const body = (await parseObject(request, await readBody(request))) as Body;
    const status = await this.answers[review.kind]!(user, body, match?.[2]);
    const { metadata, spec } = body;
    const answer = {
      apiVersion: apiVersionOf(review),
      kind: review.kind,
      metadata: metadata ?? {},
      ...(spec && { spec }),
    };
    const whole = { ...answer, status };
    replyValue(response, 201, whole);
    return true;
  }

  /** OpenID discovery: the issuer of tokens, and the keys to verify them. Undefined for other paths. */
  document(path: string): object | undefined {
    const { tokens } = this.options;
    if (path === '/openid/v1/jwks') return tokens?.keys;
    if (path !== '/.well-known/openid-configuration' || tokens === undefined) return undefined;
    return {
      issuer: tokens.issuer,
      jwks_uri: `${tokens.issuer}/openid/v1/jwks`,
      response_types_supported: ['id_token'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['ES256'],
    };
  }

  private onlyPost({ method }: IncomingMessage): void {
    if (method !== 'POST') throw methodNotAllowed();
  }

  private access(user: User, { spec }: Body): object {
    const decision = this.options.authorize(user, actionAsked(spec ?? {}));
    return { allowed: decision.allowed, ...(decision.reason !== '' && { reason: decision.reason }) };
  }

  private localAccess(body: Body, namespace: string | undefined): object {
    const asked = (body.spec?.resourceAttributes as { namespace?: string } | undefined)?.namespace;
    if (asked !== namespace) {
      throw badRequest(`spec.resourceAttributes.namespace: must match metadata.namespace: ${namespace}`);
    }
    return this.access(subject(body), body);
  }

  private async token({ spec }: Body): Promise<object> {
    const { tokens } = this.options;
    const token = spec?.token;
    if (typeof token !== 'string' || token === '')
      throw badRequest('token is required for TokenReview in authentication');
    const audiences = (spec?.audiences as string[] | undefined) ?? (tokens ? [tokens.issuer] : []);
    const user = await tokens?.verify(token, audiences);
    if (user === undefined) return { user: {}, error: 'invalid bearer token' };
    return { authenticated: true, user: userInfo(user), audiences };
  }

  private async issue(namespace: string, name: string, body: Body): Promise<Answered> {
    const { store, tokens } = this.options;
    const accounts = resourceOfKind('ServiceAccount')!;
    const account = store.get('ServiceAccount', namespace, name);
    if (account === undefined) throw notFound(accounts, name);
    if (tokens === undefined) throw badRequest('this cluster issues no tokens: it is not served over TLS');
    const {
      audiences = [],
      boundObjectRef,
      expirationSeconds = DEFAULT_SECONDS,
    } = (body.spec ?? {}) as {
      audiences?: string[];
      expirationSeconds?: number;
      boundObjectRef?: BoundObject;
    };
    const why = whyNotLifetime(expirationSeconds);
    if (why !== undefined) {
      const message = `Invalid value: ${expirationSeconds}: ${why}`;
      const request = { kind: 'TokenRequest', group: 'authentication.k8s.io', plural: 'tokenrequests' };
      throw invalid(request as unknown as Resource, '', [{ path: 'spec.expirationSeconds', message }]);
    }
    const boundTo = boundObjectRef && this.bound(namespace, name, boundObjectRef);
    const { token, expiresAtMs } = await tokens.issue({ account, audiences, expirationSeconds, boundTo });
    return {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      metadata: { name, namespace, creationTimestamp: nowText() },
      spec: {
        audiences: audiences.length > 0 ? audiences : [tokens.issuer],
        expirationSeconds,
        ...(boundObjectRef && { boundObjectRef }),
      },
      status: { token, expirationTimestamp: nowText(expiresAtMs) },
    };
  }

  private bound(namespace: string, account: string, { kind, name = '', uid }: BoundObject): KubeObject {
    if (kind !== 'Pod' && kind !== 'Secret') throw badRequest(`cannot bind token to object of type ${asText(kind)}`);
    const resource = resourceOfKind(kind)!;
    const found = this.options.store.get(kind, namespace, name);
    if (found === undefined) throw notFound(resource, name);
    if (kind === 'Pod' && account !== (found as Pod).spec.serviceAccountName) {
      const why = `cannot bind token for serviceaccount "${account}" to pod running with different serviceaccount name.`;
      throw badRequest(why);
    }
    if (uid !== undefined && uid !== '' && uid !== found.metadata.uid) {
      throw conflict(resource, name, `the UID in the bound object reference (${uid}) does not match the UID in record`);
    }
    return found;
  }
}

function whyNotLifetime(seconds: unknown): string | undefined {
  if (!(Number.isInteger(seconds) && (seconds as number) >= MIN_SECONDS)) {
    return 'may not specify a duration less than 10 minutes';
  }
  return (seconds as number) > MAX_SECONDS ? 'may not specify a duration larger than 2^32 seconds' : undefined;
}

interface BoundObject {
  kind?: string;
  name?: string;
  uid?: string;
}

const userInfo = ({ name, uid, groups, extra }: User): object => ({
  username: name,
  ...(uid !== undefined && { uid }),
  groups,
  ...(extra !== undefined && { extra }),
});

function subject({ spec = {} }: Body): User {
  const { user = '', groups = [], uid } = spec as { user?: string; groups?: string[]; uid?: string };
  if (user === '' && groups.length === 0)
    throw badRequest('spec.user: at least one of user or group must be specified');
  return { name: user, groups, ...(uid !== undefined && { uid }) };
}

/** @throws ApiError 400 unless exactly one kind of attributes is given */
function actionAsked(spec: Record<string, unknown>): Action {
  const { resourceAttributes, nonResourceAttributes } = spec as {
    resourceAttributes?: Record<string, string>;
    nonResourceAttributes?: Record<string, string>;
  };
  if ((resourceAttributes === undefined) === (nonResourceAttributes === undefined)) {
    throw badRequest('spec: exactly one of nonResourceAttributes or resourceAttributes must be specified');
  }
  if (nonResourceAttributes !== undefined) {
    return { verb: nonResourceAttributes.verb ?? '', path: nonResourceAttributes.path ?? '' };
  }
  const { verb = '', group = '', resource = '', subresource, namespace, name } = resourceAttributes!;
  return {
    verb,
    apiGroup: group,
    resource,
    ...(subresource && { subresource }),
    ...(namespace && { namespace }),
    ...(name && { name }),
  };
}
