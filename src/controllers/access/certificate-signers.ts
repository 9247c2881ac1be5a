/**
 * Signs approved CertificateSigningRequests with the cluster's authority (pkg/controller/certificates/signer): for
 * clients of the API, and for kubelets. Who is approved automatically is decided in node-approver.ts. Requests
 * are removed when they are old (pkg/controller/certificates/cleaner).
 */
import { webcrypto, X509Certificate } from 'node:crypto';
import type { Extension, Name, PublicKey } from '@peculiar/x509';
import { decodeCertificateRequest } from '../../api/rules/pkcs10.ts';
import { nowText } from '../../api/store/store.ts';
import type { CertificateSigningRequest } from '../../api/types/objects.ts';
import type { Cluster } from '../cluster.ts';
import { ALGORITHM, BACKDATE_MS, importKey, type KeyPair, loadX509, serialNumber } from './certificates.ts';

type X509 = Awaited<ReturnType<typeof loadX509>>;

export const CLIENT_SIGNER = 'kubernetes.io/kube-apiserver-client';
export const KUBELET_CLIENT_SIGNER = 'kubernetes.io/kube-apiserver-client-kubelet';
const KUBELET_SERVING_SIGNER = 'kubernetes.io/kubelet-serving';

const HOUR_MS = 3600 * 1000;
/** As kube-controller-manager's --cluster-signing-duration. */
const LONGEST_MS = 365 * 24 * HOUR_MS;
/** A certificate shorter than this ends as late as if it were not backdated. */
const SHORT_MS = 8 * HOUR_MS;
const SWEEP_MS = HOUR_MS;
const KEPT_MS = { decided: HOUR_MS, pending: 24 * HOUR_MS };

/** What a request contains, as far as signers have rules about it. */
interface Wanted {
  commonName: string;
  organizations: readonly string[];
  /** Number of alternative names by their type. */
  names: Readonly<Record<'dns' | 'email' | 'ip' | 'url', number>>;
  usages: readonly string[];
}

const SIGNERS: Readonly<Record<string, (wanted: Wanted) => string | undefined>> = {
  [CLIENT_SIGNER]({ usages }) {
    const wrong = usages.find((usage) => !['digital signature', 'key encipherment', 'client auth'].includes(usage));
    if (wrong !== undefined) return `invalid usage for client certificate: ${wrong}`;
    return usages.includes('client auth') ? undefined : 'missing required usage for client certificate: client auth';
  },
  [KUBELET_CLIENT_SIGNER](wanted) {
    const refused = refusedName(wanted, ['dns', 'email', 'ip', 'url']);
    return wrongOrganization(wanted) ?? refused ?? wrongNode(wanted, 'client auth');
  },
  [KUBELET_SERVING_SIGNER](wanted) {
    const { names } = wanted;
    const missing = names.dns + names.ip === 0 ? 'DNS or IP subjectAltName is required' : undefined;
    const refused = refusedName(wanted, ['email', 'url']);
    return wrongOrganization(wanted) ?? missing ?? refused ?? wrongNode(wanted, 'server auth');
  },
};

const NAMED = { dns: 'DNS', email: 'Email', ip: 'IP', url: 'URI' };

function refusedName({ names }: Wanted, types: readonly (keyof Wanted['names'])[]): string | undefined {
  const refused = types.find((type) => names[type] > 0);
  return refused && `${NAMED[refused]} subjectAltNames are not allowed`;
}

const wrongOrganization = ({ organizations }: Wanted): string | undefined =>
  organizations.length === 1 && organizations[0] === 'system:nodes'
    ? undefined
    : 'subject organization is not system:nodes';

function wrongNode({ commonName, usages }: Wanted, purpose: string): string | undefined {
  const given = [...usages].sort();
  const all = [purpose, 'digital signature', 'key encipherment'].sort();
  const same = (wanted: readonly string[]) => given.join() === wanted.join();
  if (!same(all) && !same(all.filter((usage) => usage !== 'key encipherment'))) {
    return `usages did not match [${all.join(' ')}]`;
  }
  return commonName.startsWith('system:node:') ? undefined : 'subject common name does not begin with system:node:';
}

/** @returns ends the removal of old requests */
export function startCertificateSigners(cluster: Cluster, authority: KeyPair): () => void {
  const { store, registry, log } = cluster;
  const signing = new Set<string>();
  const consider = (request: CertificateSigningRequest) => {
    const { name, uid } = request.metadata;
    const { status, spec } = request;
    const has = (type: string) => status?.conditions?.some((c) => c.type === type && c.status === 'True') === true;
    if (SIGNERS[spec.signerName] === undefined || status?.certificate || signing.has(uid)) return;
    if (!has('Approved') || has('Denied') || has('Failed')) return;
    signing.add(uid);
    sign(request, authority, Date.now())
      .then((result) => {
        const now = store.get('CertificateSigningRequest', undefined, name);
        if (now?.metadata.uid !== uid) return;
        const failed = { type: 'Failed', status: 'True', reason: 'SignerValidationFailure', lastUpdateTime: nowText() };
        const conditions = now.status?.conditions ?? [];
        const outcome =
          'refusal' in result
            ? { conditions: [...conditions, { ...failed, message: result.refusal }] }
            : { conditions, certificate: Buffer.from(result.certificate).toString('base64') };
        registry.write({ ...now, status: { ...now.status, ...outcome } }, now);
      })
      .catch((error: Error) => log(`certificate signing request ${name}: ${error.message}`))
      .finally(() => signing.delete(uid));
  };
  for (const request of store.list('CertificateSigningRequest')) consider(request);
  store.onCommit('CertificateSigningRequest', ({ type, object }) => {
    if (type !== 'DELETED') consider(object);
  });
  const timer = setInterval(() => {
    for (const request of store.list('CertificateSigningRequest')) {
      if (isOld(request, Date.now())) store.remove(request);
    }
  }, SWEEP_MS).unref();
  return () => clearInterval(timer);
}

/** Exported for tests. */
export function isOld({ metadata, status }: CertificateSigningRequest, nowMs: number): boolean {
  const older = (time: string | undefined, ms: number) => time !== undefined && nowMs - Date.parse(time) > ms;
  const decided = (status?.conditions ?? []).filter(({ type }) => ['Approved', 'Denied'].includes(type));
  if (decided.length === 0) return older(metadata.creationTimestamp, KEPT_MS.pending);
  const { certificate } = status!;
  if (certificate && older(new X509Certificate(Buffer.from(certificate, 'base64')).validTo, 0)) return true;
  return decided.some(
    ({ type, lastUpdateTime }) => (type === 'Denied' || certificate) && older(lastUpdateTime, KEPT_MS.decided),
  );
}

async function sign(
  { spec }: CertificateSigningRequest,
  authority: KeyPair,
  nowMs: number,
): Promise<{ certificate: string } | { refusal: string }> {
  const x509 = await loadX509();
  // From the bytes that the admission has checked: another reader of PEM may choose another block of the text.
  const { der } = decodeCertificateRequest(spec.request);
  const request = new x509.Pkcs10CertificateRequest(der);
  const { usages = [], expirationSeconds, signerName } = spec;
  const alternatives = request.extensions.find((e) => e instanceof x509.SubjectAlternativeNameExtension);
  const refusal = SIGNERS[signerName]!(wantedIn(request.subjectName, alternatives, usages));
  if (refusal !== undefined) return { refusal };
  const lifetimeMs = Math.min(expirationSeconds === undefined ? LONGEST_MS : expirationSeconds * 1000, LONGEST_MS);
  const end = nowMs + lifetimeMs - (lifetimeMs < SHORT_MS ? 0 : BACKDATE_MS);
  const issuer = new x509.X509Certificate(authority.certificate);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: request.subjectName,
    issuer: issuer.subjectName,
    notBefore: new Date(nowMs - BACKDATE_MS),
    notAfter: new Date(Math.min(end, issuer.notAfter.getTime())),
    publicKey: request.publicKey,
    signingKey: await importKey(authority.key),
    signingAlgorithm: ALGORITHM,
    extensions: await extensionsOf(x509, usages, request.publicKey, alternatives, issuer.publicKey),
  });
  return { certificate: `${certificate.toString('pem')}\n` };
}

function wantedIn(subject: Name, alternatives: Extension | undefined, usages: readonly string[]): Wanted {
  const names = { dns: 0, email: 0, ip: 0, url: 0 };
  const items = (alternatives as { names?: { items: readonly { type: string }[] } } | undefined)?.names?.items ?? [];
  for (const { type } of items) if (type in names) names[type as 'dns']++;
  return { commonName: subject.getField('CN')[0] ?? '', organizations: subject.getField('O'), names, usages };
}

const EXTENDED: Readonly<Record<string, string>> = {
  any: '2.5.29.37.0',
  'server auth': '1.3.6.1.5.5.7.3.1',
  'client auth': '1.3.6.1.5.5.7.3.2',
};

async function extensionsOf(
  x509: X509,
  usages: readonly string[],
  key: PublicKey,
  alternatives: Extension | undefined,
  issuer: PublicKey,
): Promise<Extension[]> {
  const { KeyUsageFlags: flags } = x509;
  const bits =
    (usages.includes('digital signature') || usages.includes('signing') ? flags.digitalSignature : 0) |
    (usages.includes('key encipherment') ? flags.keyEncipherment : 0);
  const purposes = usages.map((usage) => EXTENDED[usage]).filter((oid) => oid !== undefined);
  return [
    new x509.BasicConstraintsExtension(false, undefined, true),
    ...(bits === 0 ? [] : [new x509.KeyUsagesExtension(bits, true)]),
    ...(purposes.length === 0 ? [] : [new x509.ExtendedKeyUsageExtension(purposes)]),
    await x509.AuthorityKeyIdentifierExtension.create(await issuer.export(webcrypto as never)),
    ...(alternatives === undefined ? [] : [alternatives]),
    await x509.SubjectKeyIdentifierExtension.create(await key.export(webcrypto as never)),
  ];
}
