/** The content of the kubeconfig file, with which kubectl and client libraries find the cluster and authenticate. */
import type { ClusterCertificates } from './certificates.ts';

const NAME = 'dataplane';

export interface KubeconfigContents {
  /** URL of the API. */
  readonly server: string;
  /** Certificate of the authority, the user's certificate and its key: PEM. */
  readonly authority: string;
  readonly certificate: string;
  readonly key: string;
  /** The entry's name in the file. */
  readonly user: string;
}

/** A kubeconfig for the administrator. */
export const adminKubeconfig = (server: string, { authority, admin }: ClusterCertificates): string =>
  kubeconfigOf({ server, authority, ...admin, user: `${NAME}-admin` });

/** A kubeconfig with embedded certificates. */
export function kubeconfigOf({ server, authority, certificate, key, user }: KubeconfigContents): string {
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  return `apiVersion: v1
kind: Config
clusters:
- name: ${NAME}
  cluster:
    server: ${server}
    certificate-authority-data: ${base64(authority)}
users:
- name: ${user}
  user:
    client-certificate-data: ${base64(certificate)}
    client-key-data: ${base64(key)}
contexts:
- name: ${NAME}
  context:
    cluster: ${NAME}
    user: ${user}
current-context: ${NAME}
preferences: {}
`;
}
