/** The interface by which the API server issues and verifies service account tokens. */
import type { KubeObject } from '../types/objects.ts';
import type { User } from './user.ts';

export interface TokenQuestion {
  account: KubeObject;
  /** Empty: the API server itself. */
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
  /** The `iss` claim of tokens; also the API server's own audience. */
  readonly issuer: string;
  /** JSON Web Key Set with which others can verify tokens (RFC 7517). */
  readonly keys: object;
  issue(question: TokenQuestion): Promise<IssuedToken>;
  /** The user that a token authenticates; undefined if it is not valid, or not issued for any of `audiences`. */
  verify(token: string, audiences?: readonly string[]): Promise<User | undefined>;
}
