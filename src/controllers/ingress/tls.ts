/** Certificates of Ingresses: those of TLS Secrets, checked before nginx sees them, and a default one for all other hosts. */
import { createPrivateKey, randomBytes, webcrypto, X509Certificate } from 'node:crypto';
import type { Secret } from '../../api/types/objects.ts';
import { loadX509, pem } from '../access/certificates.ts';

export interface TlsPair {
  certificate: string;
  key: string;
}

const YEAR_MS = 365 * 24 * 3600 * 1000;
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

/** The Secret's certificate and key, or why nginx would refuse them. */
export function tlsPairOf({ data = {} }: Secret): TlsPair | string {
  for (const key of ['tls.crt', 'tls.key']) if (!data[key]) return `the Secret has no ${key}`;
  const certificate = Buffer.from(data['tls.crt']!, 'base64').toString('latin1');
  const key = Buffer.from(data['tls.key']!, 'base64').toString('latin1');
  return problemOf({ certificate, key }) ?? { certificate, key };
}

export function problemOf({ certificate, key }: TlsPair): string | undefined {
  try {
    const matches = new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key));
    return matches ? undefined : 'tls.key is not the key of tls.crt';
  } catch (error) {
    return `tls.crt or tls.key cannot be read (${(error as Error).message})`;
  }
}

/** Signed by itself: clients are to see that their host has no certificate. */
export async function defaultPair(nowMs: number): Promise<TlsPair> {
  const x509 = await loadX509();
  const keys = (await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: `4${randomBytes(15).toString('hex').slice(1)}`,
    name: 'CN=Kubernetes Ingress Controller Fake Certificate, O=dataplane',
    notBefore: new Date(nowMs - 3_600_000),
    notAfter: new Date(nowMs + YEAR_MS),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: 'ingress.local' }])],
  });
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  return { certificate: `${certificate.toString('pem')}\n`, key: pem('PRIVATE KEY', der) };
}
