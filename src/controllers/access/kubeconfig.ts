/** The content of the kubeconfig file, with which kubectl and client libraries find the cluster and authenticate. */
import type { ClusterCertificates } from './certificates.ts';

const NAME = 'dataplane';

/** A kubeconfig for the administrator, with embedded certificates. */
export function adminKubeconfig(server: string, certificates: ClusterCertificates): string {
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  return `apiVersion: v1
kind: Config
clusters:
- name: ${NAME}
  cluster:
    server: ${server}
    certificate-authority-data: ${base64(certificates.authority)}
users:
- name: ${NAME}-admin
  user:
    client-certificate-data: ${base64(certificates.admin.certificate)}
    client-key-data: ${base64(certificates.admin.key)}
contexts:
- name: ${NAME}
  context:
    cluster: ${NAME}
    user: ${NAME}-admin
current-context: ${NAME}
preferences: {}
`;
}
