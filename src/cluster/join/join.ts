/**
 * Joining a cluster of ours from another machine, as `kubeadm join` does it: find the authority, ask for a node's
 * certificate with a bootstrap token, write the kubeconfig. A key that is made for it is kept until then: a command that
 * was interrupted can be given again.
 */
import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { NODE_PREFIX, NODES } from '../../api/access/user.ts';
import { serverOf } from '../../api/client/api-server.ts';
import { ApiClient } from '../../api/client/client.ts';
import { ApiError } from '../../api/errors.ts';
import type { CertificateSigningRequest } from '../../api/types/certificates.ts';
import { newKey, requestCertificate } from '../../controllers/access/certificate-request.ts';
import { KUBELET_CLIENT_SIGNER } from '../../controllers/access/certificate-signers.ts';
import { kubeconfigOf } from '../../controllers/access/kubeconfig.ts';
import { replaceFile } from '../../linux/replace-file.ts';
import { ClusterError } from '../errors.ts';
import { discoverAuthority } from './discovery.ts';

const SIGNING_MS = 30_000;
const POLL_MS = 200;

export interface JoinOptions {
  /** https://HOST:PORT */
  readonly url: string;
  readonly token: string;
  /** `sha256:…` of the authority's public key. */
  readonly authorityHash: string;
  readonly node: string;
  /** The file that is written; it must not exist. */
  readonly kubeconfig: string;
}

/** Resolves when the kubeconfig is written. @throws ClusterError; no kubeconfig is written then */
export async function joinCluster(options: JoinOptions): Promise<void> {
  const { url, token, authorityHash, node, kubeconfig } = options;
  if (existsSync(kubeconfig)) {
    throw new ClusterError(
      'JOIN',
      `${kubeconfig} exists: this machine has joined a cluster`,
      'remove the file to join again, or name another one with --kubeconfig',
    );
  }
  const authority = await discoverAuthority(url, authorityHash);
  const client = new ApiClient(serverOf(url, { authority: { data: authority }, token: { data: token } }));
  const keyFile = `${kubeconfig}.key`;
  mkdirSync(dirname(kubeconfig), { recursive: true, mode: 0o700 });
  try {
    if ((await client.find('Node', node)) !== undefined) throw nameTaken(`there is a Node ${node}`, node);
    if (!existsSync(keyFile)) replaceFile(keyFile, newKey(), { flush: true });
    const key = readFileSync(keyFile, 'utf8');
    const certificate = await obtainCertificate(client, node, key);
    if (!new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))) {
      throw new ClusterError('JOIN', `${url} has sent a certificate for another key`);
    }
    replaceFile(kubeconfig, kubeconfigOf({ server: url, authority, user: node, certificate, key }), { flush: true });
    rmSync(keyFile);
  } catch (error) {
    throw error instanceof ApiError && error.code === 401 ? refusedToken(token, error) : error;
  } finally {
    client.close();
  }
}

async function obtainCertificate(client: ApiClient, node: string, key: string): Promise<string> {
  const request = await requestCertificate(key, `O=${NODES}, CN=${NODE_PREFIX}${node}`);
  const { metadata } = await client.create<CertificateSigningRequest>({
    apiVersion: 'certificates.k8s.io/v1',
    kind: 'CertificateSigningRequest',
    metadata: { name: `node-csr-${randomBytes(8).toString('hex')}` },
    spec: {
      request: Buffer.from(request).toString('base64'),
      signerName: KUBELET_CLIENT_SIGNER,
      usages: ['digital signature', 'client auth'],
    },
  });
  for (const end = performance.now() + SIGNING_MS; ; await sleep(POLL_MS)) {
    const { status } = await client.get('CertificateSigningRequest', metadata.name);
    const refusal = status?.conditions?.find(({ type }) => type === 'Denied' || type === 'Failed');
    if (refusal?.reason === 'NameTaken') throw nameTaken(refusal.message ?? '', node);
    if (refusal !== undefined) throw new ClusterError('JOIN', `the request was refused: ${refusal.message}`);
    if (status?.certificate) return Buffer.from(status.certificate, 'base64').toString('utf8');
    if (performance.now() > end) {
      throw new ClusterError(
        'JOIN',
        `request ${metadata.name} was not signed within ${SIGNING_MS / 1000} s`,
        "the controller's log says why; the command can be given again",
      );
    }
  }
}

const nameTaken = (what: string, node: string): ClusterError =>
  new ClusterError(
    'JOIN',
    what,
    `choose another name with --node, or delete that one first (kubectl delete node ${node})`,
  );

function refusedToken(token: string, { message }: ApiError): ClusterError {
  const id = token.split('.')[0];
  const expired = /expired/.test(message);
  return new ClusterError(
    'JOIN',
    expired ? `token ${id} has expired` : `token ${id} is not valid`,
    'make another one with `dataplane token create`',
  );
}
