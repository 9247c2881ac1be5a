/**
 * The authority of a cluster that a machine does not know yet. The server says who it is, over a connection that proves
 * nothing; it is believed if the hash of its public key is the one that the administrator passed on (kubeadm's
 * --discovery-token-ca-cert-hash, RFC 7469 §2.4). Nothing secret is sent before.
 */
import { createHash, X509Certificate } from 'node:crypto';
import { parse } from 'yaml';
import { CLUSTER_INFO } from '../../api/access/authorization.ts';
import { serverOf } from '../../api/client/api-server.ts';
import { ApiClient } from '../../api/client/client.ts';
import { ApiUnreachableError } from '../../api/errors.ts';
import { ClusterError } from '../errors.ts';

/** How long a server may take to answer. */
const ANSWER_MS = 10_000;

/** `sha256:` and the hash of the certificate's public key. @param certificate PEM */
export function authorityHash(certificate: string): string {
  const spki = new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'der' });
  return `sha256:${createHash('sha256').update(spki).digest('hex')}`;
}

/**
 * What ConfigMap kube-public/cluster-info contains: the API's URL, and certificates of its authority (PEM).
 * @param text a kubeconfig without a user
 * @throws Error for another text
 */
export function readClusterInfo(text: string): { server: string; authorities: string[] } {
  const cluster = (parse(text) as Kubeconfig | null)?.clusters?.[0]?.cluster;
  const { server, 'certificate-authority-data': data } = cluster ?? {};
  const certificates = Buffer.from(`${data ?? ''}`, 'base64')
    .toString('utf8')
    .match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
  if (typeof server !== 'string' || certificates === null) throw new Error('it names no server or no authority');
  return { server, authorities: certificates };
}

interface Kubeconfig {
  clusters?: { cluster?: Record<string, unknown> }[];
}

/**
 * The certificate of the cluster's authority, if it is the expected one.
 * @param url https://HOST:PORT
 * @returns PEM
 * @throws ClusterError
 */
export async function discoverAuthority(url: string, expectedHash: string): Promise<string> {
  const certificates = await readAuthorities(url);
  const trusted = certificates.find((certificate) => authorityHash(certificate) === expectedHash);
  if (trusted !== undefined) return trusted;
  const found = certificates.map(authorityHash).join(', ');
  throw new ClusterError(
    'JOIN',
    `the authority of ${url} has the hash ${found}, not ${expectedHash}`,
    'this is another cluster, or somebody in its place; `dataplane token create` prints the right command',
  );
}

async function readAuthorities(url: string): Promise<string[]> {
  const client = new ApiClient(serverOf(url, { insecure: true }), { timeoutMs: ANSWER_MS });
  try {
    const { data = {} } = await client.get('ConfigMap', CLUSTER_INFO.name, CLUSTER_INFO.namespace);
    return readClusterInfo(data[CLUSTER_INFO.key] ?? '').authorities;
  } catch (error) {
    throw error instanceof ApiUnreachableError ? unreachable(url, error) : noController(url, error as Error);
  } finally {
    client.close();
  }
}

const noController = (url: string, { message }: Error): ClusterError =>
  new ClusterError('JOIN', `${url} does not say whose it is: ${message}`, 'is it a `dataplane controller --listen`?');

function unreachable(url: string, error: ApiUnreachableError): ClusterError {
  const advice = 'check the address, and that `dataplane controller --listen` runs there';
  return new ClusterError('JOIN', `no answer of ${url} (${reason(error)})`, advice);
}

function reason({ code, cause, message }: ApiUnreachableError): string {
  if (code === 'ETIMEDOUT') return 'it timed out';
  if (code === 'EPROTO' || code.startsWith('ERR_SSL')) return 'it does not speak TLS';
  return (cause as Error | undefined)?.message ?? message;
}
