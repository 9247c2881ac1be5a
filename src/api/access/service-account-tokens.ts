/** What the API needs of whoever issues and checks service accounts' tokens. */
import type { KubeObject } from '../types/objects.ts';
import type { User } from './user.ts';

export interface TokenQuestion {
  account: KubeObject;
  /** Empty: the API itself. */
  audiences: readonly string[];
  expirationSeconds: number;
  /** A Pod or Secret without which the token is not valid. */
  boundTo?: KubeObject | undefined;
}

export interface IssuedToken {
  token: string;
  expiresAtMs: number;
}

export interface TokenIssuer {
  /** URL by which tokens name who issued them, and the API's own audience. */
  readonly issuer: string;
  /** JSON Web Key Set with which others can check tokens (RFC 7517). */
  readonly keys: object;
  issue(question: TokenQuestion): Promise<IssuedToken>;
  /** The user a token speaks for; undefined when it is not valid, or meant for others than `audiences`. */
  verify(token: string, audiences?: readonly string[]): Promise<User | undefined>;
}
