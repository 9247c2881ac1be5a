/** Requests for certificates (certificates.k8s.io/v1). */
import type { KubeObject } from './meta.ts';

export interface SigningCondition {
  /** Approved, Denied, Failed, or any other text. */
  type: string;
  status: string;
  reason?: string;
  message?: string;
  lastUpdateTime?: string;
  lastTransitionTime?: string;
}

export interface CertificateSigningRequest extends KubeObject {
  apiVersion: 'certificates.k8s.io/v1';
  kind: 'CertificateSigningRequest';
  spec: {
    /** PEM of a PKCS #10 request, in base64. */
    request: string;
    signerName: string;
    usages?: string[];
    expirationSeconds?: number;
    /** Who made the request; set by the API server. */
    username?: string;
    uid?: string;
    groups?: readonly string[];
    extra?: Readonly<Record<string, readonly string[]>>;
  };
  status?: {
    conditions?: SigningCondition[];
    /** PEM, in base64. */
    certificate?: string;
  };
}
