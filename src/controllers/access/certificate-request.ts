/** What a machine makes itself to get a certificate: a key, and a PKCS #10 request for it. */
import { createPublicKey, generateKeyPairSync, webcrypto } from 'node:crypto';
import { ALGORITHM, importKey, loadX509 } from './certificates.ts';

/** A new private key: PEM, PKCS #8. */
export const newKey = (): string =>
  generateKeyPairSync('ec', { namedCurve: ALGORITHM.namedCurve }).privateKey.export({
    type: 'pkcs8',
    format: 'pem',
  }) as string;

/**
 * A request for a certificate.
 * @param key PEM, PKCS #8
 * @param subject such as `O=system:nodes, CN=system:node:n1`
 * @returns PEM
 */
export async function requestCertificate(key: string, subject: string): Promise<string> {
  const { Pkcs10CertificateRequestGenerator } = await loadX509();
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' });
  const publicKey = await webcrypto.subtle.importKey('spki', spki, ALGORITHM, true, ['verify']);
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: subject,
    keys: { publicKey, privateKey: await importKey(key) } as never,
    signingAlgorithm: ALGORITHM,
  });
  return `${request.toString('pem')}\n`;
}
