/**
 * Decides about machines that ask to be a node (pkg/controller/certificates/approver). Whoever has a bootstrap token gets
 * a certificate for a name that no Node has: unlike in Kubernetes, a token is not enough to take the place of a node. A
 * node gets its own next certificate. Also removes tokens some time after they have expired (pkg/controller/bootstrap/tokencleaner.go).
 */
import { expiryOf, isTokenSecret } from '../../api/access/bootstrap-tokens.ts';
import { BOOTSTRAPPERS, NODE_PREFIX, NODES } from '../../api/access/user.ts';
import { type CertificateRequest, decodeCertificateRequest } from '../../api/rules/pkcs10.ts';
import { nowText, type Store } from '../../api/store/store.ts';
import type { CertificateSigningRequest } from '../../api/types/objects.ts';
import type { Cluster } from '../cluster.ts';
import { KUBELET_CLIENT_SIGNER } from './certificate-signers.ts';

const SWEEP_MS = 60_000;
/** A token is kept for so long after its end, so that whoever still uses it is told the reason. */
const EXPIRED_KEPT_MS = 3600_000;

type Decision = { approved: boolean; reason: string; message: string };

/** @returns ends the removal of tokens */
export function startNodeApprover({ store, registry, log }: Cluster): () => void {
  const consider = (request: CertificateSigningRequest): void => {
    const decision = decide(store, request);
    if (decision === undefined) return;
    const { approved, reason, message } = decision;
    const type = approved ? 'Approved' : 'Denied';
    const now = nowText();
    const condition = { type, status: 'True', reason, message, lastUpdateTime: now, lastTransitionTime: now };
    registry.write({ ...request, status: { ...request.status, conditions: [condition] } }, request);
    log(`certificate signing request ${request.metadata.name} of ${request.spec.username}: ${type}: ${message}`);
  };
  // Two requests for one name are decided one after the other, so that the second finds the first.
  for (const request of store.list('CertificateSigningRequest')) consider(request);
  store.onCommit('CertificateSigningRequest', ({ type, object: { metadata } }) => {
    if (type !== 'ADDED') return;
    setImmediate(() => {
      const request = store.get('CertificateSigningRequest', undefined, metadata.name);
      if (request?.metadata.uid === metadata.uid) consider(request);
    });
  });
  // Its name is free again, also for another machine.
  store.onCommit('Node', ({ type, object }) => {
    if (type !== 'DELETED') return;
    for (const request of store.list('CertificateSigningRequest')) {
      if (isApprovedFor(object.metadata.name, request)) store.remove(request);
    }
  });
  const timer = setInterval(() => {
    for (const secret of store.list('Secret', 'kube-system')) {
      if (isTokenSecret(secret) && expiryOf(secret) <= Date.now() - EXPIRED_KEPT_MS) store.remove(secret);
    }
  }, SWEEP_MS).unref();
  return () => clearInterval(timer);
}

/** Undefined for requests that are decided, or are none of ours. */
function decide(store: Store, { metadata, spec, status }: CertificateSigningRequest): Decision | undefined {
  if (spec.signerName !== KUBELET_CLIENT_SIGNER || (status?.conditions ?? []).length > 0) return undefined;
  const request = decodeCertificateRequest(spec.request);
  const { commonName = '', organizations } = request;
  if (!commonName.startsWith(NODE_PREFIX) || organizations.join() !== NODES) return undefined;
  if (spec.username === commonName && spec.groups?.includes(NODES)) {
    return { approved: true, reason: 'AutoApproved', message: 'the node itself asks for its next certificate' };
  }
  if (!spec.groups?.includes(BOOTSTRAPPERS)) return undefined;
  const node = commonName.slice(NODE_PREFIX.length);
  const taken = takenBy(store, node, metadata.uid, request);
  if (taken !== undefined) return { approved: false, reason: 'NameTaken', message: taken };
  return { approved: true, reason: 'AutoApproved', message: `a bootstrap token admits node ${node}` };
}

function takenBy(store: Store, node: string, uid: string, asked: CertificateRequest): string | undefined {
  if (store.get('Node', undefined, node) !== undefined) return `there is a Node ${node}`;
  // A machine that has a certificate may not have registered its Node yet. The same machine may ask again.
  const isAnother = (other: CertificateSigningRequest): boolean =>
    other.metadata.uid !== uid &&
    isApprovedFor(node, other) &&
    !decodeCertificateRequest(other.spec.request).publicKey.equals(asked.publicKey);
  return store.list('CertificateSigningRequest').some(isAnother)
    ? `another machine has just joined as ${node}`
    : undefined;
}

const isApprovedFor = (node: string, { spec, status }: CertificateSigningRequest): boolean =>
  spec.signerName === KUBELET_CLIENT_SIGNER &&
  (status?.conditions ?? []).some(({ type }) => type === 'Approved') &&
  decodeCertificateRequest(spec.request).commonName === NODE_PREFIX + node;
