/**
 * Tokens of service accounts: JSON Web Tokens (RFC 7519) signed with a key of the cluster's own (ES256). Each is bound
 * to its account, and to a pod or secret if requested: if that object is deleted, or recreated under the same name, the
 * token becomes invalid (kubernetes/pkg/serviceaccount).
 */
import { createHash, createPublicKey, randomUUID } from 'node:crypto';
import {
  type CryptoKey,
  exportJWK,
  importPKCS8,
  importSPKI,
  type JWK,
  type JWTPayload,
  jwtVerify,
  SignJWT,
} from 'jose';
import type { IssuedToken, TokenIssuer, TokenQuestion } from '../../api/access/service-account-tokens.ts';
import { AUTHENTICATED, type User } from '../../api/access/user.ts';
import type { Store } from '../../api/store/store.ts';
import type { KubeObject } from '../../api/types/objects.ts';

const ALGORITHM = 'ES256';
/** Cache size for verified tokens, by digest; the objects they are bound to are checked every time. */
const MAX_REMEMBERED = 1000;
const PREFIX = 'system:serviceaccount:';

/** The private claims (pkg/serviceaccount/claims.go). */
interface Claims extends JWTPayload {
  'kubernetes.io'?: {
    namespace?: string;
    serviceaccount?: Reference;
    pod?: Reference;
    secret?: Reference;
    node?: Reference;
  };
}

interface Reference {
  name: string;
  uid: string;
}

export class ServiceAccountTokens implements TokenIssuer {
  readonly issuer: string;
  readonly keys: { keys: JWK[] };
  private readonly store: Store;
  private readonly signer: CryptoKey;
  private readonly verifier: CryptoKey;
  private readonly keyId: string;
  private readonly remembered = new Map<string, Claims>();

  private constructor(store: Store, issuer: string, signer: CryptoKey, verifier: CryptoKey, jwk: JWK) {
    this.store = store;
    this.issuer = issuer;
    this.signer = signer;
    this.verifier = verifier;
    this.keyId = createHash('sha256').update(JSON.stringify(jwk)).digest('base64url');
    this.keys = { keys: [{ ...jwk, use: 'sig', kid: this.keyId, alg: ALGORITHM }] };
  }

  /** @param key PEM, PKCS #8 */
  static async open(store: Store, key: string, clusterDomain: string): Promise<ServiceAccountTokens> {
    const spki = createPublicKey(key).export({ type: 'spki', format: 'pem' }) as string;
    const verifier = await importSPKI(spki, ALGORITHM, { extractable: true });
    const issuer = `https://kubernetes.default.svc.${clusterDomain}`;
    return new ServiceAccountTokens(
      store,
      issuer,
      await importPKCS8(key, ALGORITHM),
      verifier,
      await exportJWK(verifier),
    );
  }

  async issue({ account, audiences, expirationSeconds, boundTo }: TokenQuestion): Promise<IssuedToken> {
    const { namespace, name, uid } = account.metadata;
    const nowSeconds = Math.floor(Date.now() / 1000);
    const expires = nowSeconds + expirationSeconds;
    const reference = ({ metadata }: KubeObject): Reference => ({ name: metadata.name, uid: metadata.uid });
    const node = boundTo?.kind === 'Pod' ? this.nodeOf(boundTo) : undefined;
    const claims = {
      'kubernetes.io': {
        namespace,
        serviceaccount: { name, uid },
        ...(boundTo?.kind === 'Pod' && { pod: reference(boundTo) }),
        ...(boundTo?.kind === 'Secret' && { secret: reference(boundTo) }),
        ...(node !== undefined && { node }),
      },
    };
    const token = await new SignJWT(claims)
      .setProtectedHeader({ alg: ALGORITHM, kid: this.keyId })
      .setIssuer(this.issuer)
      .setSubject(`${PREFIX}${namespace}:${name}`)
      .setAudience(audiences.length > 0 ? [...audiences] : [this.issuer])
      .setIssuedAt(nowSeconds)
      .setNotBefore(nowSeconds)
      .setExpirationTime(expires)
      .setJti(randomUUID())
      .sign(this.signer);
    return { token, expiresAtMs: expires * 1000 };
  }

  async verify(token: string, audiences: readonly string[] = [this.issuer]): Promise<User | undefined> {
    const claims = await this.claimsOf(token);
    if (claims === undefined) return undefined;
    const meant = [claims.aud ?? []].flat();
    if (!audiences.some((audience) => meant.includes(audience))) return undefined;
    return this.userOf(claims);
  }

  private nodeOf(pod: KubeObject): Reference | undefined {
    const { nodeName } = (pod as { spec?: { nodeName?: string } }).spec ?? {};
    const node = nodeName ? this.store.get('Node', undefined, nodeName) : undefined;
    return node && { name: node.metadata.name, uid: node.metadata.uid };
  }

  private async claimsOf(token: string): Promise<Claims | undefined> {
    const digest = createHash('sha256').update(token).digest('base64');
    const known = this.remembered.get(digest);
    const nowSeconds = Date.now() / 1000;
    if (known !== undefined) return known.exp! > nowSeconds ? known : undefined;
    let claims: Claims;
    try {
      const options = { issuer: this.issuer, algorithms: [ALGORITHM], requiredClaims: ['exp', 'sub', 'aud'] };
      claims = (await jwtVerify<Claims>(token, this.verifier, options)).payload;
    } catch {
      return undefined;
    }
    if (this.remembered.size >= MAX_REMEMBERED) this.remembered.delete(this.remembered.keys().next().value!);
    this.remembered.set(digest, claims);
    return claims;
  }

  private userOf(claims: Claims): User | undefined {
    const { namespace = '', serviceaccount, pod, secret, node } = claims['kubernetes.io'] ?? {};
    if (serviceaccount === undefined) return undefined;
    const present = (kind: 'ServiceAccount' | 'Pod' | 'Secret', wanted: Reference | undefined) =>
      wanted === undefined || this.store.get(kind, namespace, wanted.name)?.metadata.uid === wanted.uid;
    if (!present('ServiceAccount', serviceaccount) || !present('Pod', pod) || !present('Secret', secret))
      return undefined;
    const extra: Record<string, string[]> = { 'authentication.kubernetes.io/credential-id': [`JTI=${claims.jti}`] };
    if (pod !== undefined) {
      extra['authentication.kubernetes.io/pod-name'] = [pod.name];
      extra['authentication.kubernetes.io/pod-uid'] = [pod.uid];
    }
    if (node !== undefined) {
      extra['authentication.kubernetes.io/node-name'] = [node.name];
      extra['authentication.kubernetes.io/node-uid'] = [node.uid];
    }
    return {
      name: `${PREFIX}${namespace}:${serviceaccount.name}`,
      uid: serviceaccount.uid,
      groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, AUTHENTICATED],
      extra,
    };
  }
}
