/**
 * The cluster's own certificate authority and the certificates it issues: the API server's and the administrator's. All
 * of it is in one directory that only root may read, and outlives the controller. Leaf certificates are reissued when
 * they are about to expire or when the server gets other names; the authority itself is created once.
 *
 * Node can verify certificates but not create them; @peculiar/x509 does, and is loaded only when one has to be created.
 */
import { generateKeyPairSync, type KeyObject, randomBytes, webcrypto, X509Certificate } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import type { Extension as X509Extension } from '@peculiar/x509';
import { replaceFile } from '../../linux/replace-file.ts';

const DAY_MS = 24 * 3600 * 1000;
/** As kubeadm: ten years for the authority, one for what it signs (kubeadm constants.go, CertificateValidityPeriod). */
const AUTHORITY_MS = 3650 * DAY_MS;
const LEAF_MS = 365 * DAY_MS;
/** A leaf certificate with less time left is reissued. */
const RENEW_MS = 30 * DAY_MS;
/** Clients' clocks may be behind ours. */
export const BACKDATE_MS = 5 * 60 * 1000;
export const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

export interface KeyPair {
  /** PEM. */
  certificate: string;
  /** PEM, PKCS #8. */
  key: string;
}

export interface ClusterCertificates {
  /** PEM. */
  authority: string;
  /** Signs what the authority issues. PEM, PKCS #8. */
  authorityKey: string;
  server: KeyPair;
  /** Organization system:masters: all permissions (RBAC's bootstrap policy). */
  admin: KeyPair;
  /** Signs and checks service accounts' tokens. PEM, PKCS #8. */
  serviceAccountKey: string;
}

/**
 * Loads the certificates in `directory`, and issues missing or outdated ones. `serverNames`: DNS names and addresses.
 */
export async function ensureCertificates(
  directory: string,
  serverNames: readonly string[],
  nowMs = Date.now(),
): Promise<ClusterCertificates> {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  chmodSync(directory, 0o700);
  const fresh = (pair: KeyPair) => Date.parse(new X509Certificate(pair.certificate).validTo) - nowMs > RENEW_MS;
  const authority =
    read(directory, 'ca', fresh) ??
    (await issue(directory, 'ca', { subject: 'CN=kubernetes', use: 'authority', nowMs }, undefined));
  const issued = (pair: KeyPair) =>
    fresh(pair) && new X509Certificate(pair.certificate).verify(new X509Certificate(authority.certificate).publicKey);
  const named = (pair: KeyPair) => issued(pair) && covers(new X509Certificate(pair.certificate), serverNames);
  const server =
    read(directory, 'apiserver', named) ??
    (await issue(
      directory,
      'apiserver',
      { subject: 'CN=kube-apiserver', use: 'server', names: serverNames, nowMs },
      authority,
    ));
  const admin =
    read(directory, 'admin', issued) ??
    (await issue(
      directory,
      'admin',
      { subject: 'O=system:masters, CN=kubernetes-admin', use: 'client', nowMs },
      authority,
    ));
  return {
    authority: authority.certificate,
    authorityKey: authority.key,
    server,
    admin,
    serviceAccountKey: serviceAccountKey(directory),
  };
}

/** The package that creates certificates. Loading it takes longer than all else that a controller does at its start. */
export async function loadX509(): Promise<typeof import('@peculiar/x509')> {
  await import('reflect-metadata'); // Must be loaded first, for x509's dependency injection.
  return import('@peculiar/x509');
}

interface Request {
  subject: string;
  use: 'authority' | 'server' | 'client';
  names?: readonly string[];
  nowMs: number;
}

async function issue(directory: string, name: string, request: Request, issuer: KeyPair | undefined): Promise<KeyPair> {
  const x509 = await loadX509();
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const { use, subject, names = [], nowMs } = request;
  const extensions: X509Extension[] = [
    new x509.BasicConstraintsExtension(use === 'authority', undefined, true),
    new x509.KeyUsagesExtension(
      use === 'authority'
        ? x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.digitalSignature
        : x509.KeyUsageFlags.digitalSignature,
      true,
    ),
    await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
  ];
  if (use !== 'authority') {
    extensions.push(
      new x509.ExtendedKeyUsageExtension([
        use === 'server' ? x509.ExtendedKeyUsage.serverAuth : x509.ExtendedKeyUsage.clientAuth,
      ]),
    );
  }
  if (names.length > 0) {
    const alternatives = names.map((value) => ({ type: isIP(value) ? ('ip' as const) : ('dns' as const), value }));
    extensions.push(new x509.SubjectAlternativeNameExtension(alternatives));
  }
  const signer = issuer === undefined ? undefined : new x509.X509Certificate(issuer.certificate);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject,
    issuer: signer?.subject ?? subject,
    notBefore: new Date(nowMs - BACKDATE_MS),
    notAfter: new Date(nowMs + (use === 'authority' ? AUTHORITY_MS : LEAF_MS)),
    publicKey: keys.publicKey,
    signingKey: issuer === undefined ? keys.privateKey : await importKey(issuer.key),
    signingAlgorithm: ALGORITHM,
    extensions,
  });
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  const pair = { certificate: `${certificate.toString('pem')}\n`, key: pem('PRIVATE KEY', der) };
  write(directory, `${name}.key`, pair.key);
  write(directory, `${name}.crt`, pair.certificate);
  return pair;
}

/** Positive and unpredictable (RFC 5280 §4.1.2.2). */
export const serialNumber = (): string => `4${randomBytes(15).toString('hex').slice(1)}`;

export function importKey(key: string): Promise<webcrypto.CryptoKey> {
  const der = Buffer.from(key.replace(/-----[^-]+-----|\s/g, ''), 'base64');
  return webcrypto.subtle.importKey('pkcs8', der, ALGORITHM, false, ['sign']);
}

export const pem = (label: string, der: Buffer): string =>
  `-----BEGIN ${label}-----\n${der.toString('base64').replace(/.{1,64}/g, '$&\n')}-----END ${label}-----\n`;

function covers(certificate: X509Certificate, names: readonly string[]): boolean {
  return names.every((name) =>
    isIP(name) ? certificate.checkIP(name) !== undefined : certificate.checkHost(name) !== undefined,
  );
}

function serviceAccountKey(directory: string): string {
  const found = readText(join(directory, 'sa.key'));
  if (found !== undefined) return found;
  const { privateKey }: { privateKey: KeyObject } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const text = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
  write(directory, 'sa.key', text);
  return text;
}

/** Undefined if it does not exist, is not a valid pair, or is not `good`. */
function read(directory: string, name: string, good: (pair: KeyPair) => boolean): KeyPair | undefined {
  const certificate = readText(join(directory, `${name}.crt`));
  const key = readText(join(directory, `${name}.key`));
  if (certificate === undefined || key === undefined) return undefined;
  try {
    return good({ certificate, key }) ? { certificate, key } : undefined;
  } catch {
    return undefined; // Truncated by a crash: reissue it.
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function write(directory: string, name: string, text: string): void {
  replaceFile(join(directory, name), text);
}
