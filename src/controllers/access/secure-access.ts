/**
 * The API's TLS listeners: one on the machine's loopback for kubectl, one inside the cluster for pods, one on an
 * address of the operator's choice for other machines; and the kubeconfig for the first.
 */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { ListenAddress, TlsIdentity } from '../../api/server/server.ts';
import { replaceFile } from '../../linux/replace-file.ts';
import { type ClusterCertificates, ensureCertificates } from './certificates.ts';
import { adminKubeconfig } from './kubeconfig.ts';

const LOOPBACK = '127.0.0.1';

export interface AccessOptions {
  /** Port on 127.0.0.1. Omitted: the previous one, or any free port. */
  port?: number | undefined;
  /** Address of the API for pods. `open` returns a listening socket there. */
  inCluster?: { address: string; port: number; open: () => number } | undefined;
  /** rbac: users may do what roles permit; open: authenticated users may do everything. */
  authorization?: 'open' | 'rbac';
  /** Listener for other machines. */
  listen?: { host: string; port: number } | undefined;
}

export interface SecureAccess {
  certificates: ClusterCertificates;
  secure: { identity: TlsIdentity; addresses: ListenAddress[] };
  /** Writes the kubeconfig, once the ports are known. */
  announce(securePorts: readonly number[]): void;
}

const kubeconfigPath = (stateDir: string): string => join(stateDir, 'kubeconfig');

/** @param serviceAddress address of Service default/kubernetes */
export async function prepareAccess(
  stateDir: string,
  { port, inCluster, listen }: AccessOptions,
  serviceAddress: string,
  clusterDomain: string,
): Promise<SecureAccess> {
  const names = [
    'kubernetes',
    'kubernetes.default',
    'kubernetes.default.svc',
    `kubernetes.default.svc.${clusterDomain}`,
  ];
  const addresses = [
    LOOPBACK,
    serviceAddress,
    ...(inCluster ? [inCluster.address] : []),
    ...(listen ? [listen.host] : []),
  ];
  const certificates = await ensureCertificates(join(stateDir, 'pki'), [...names, 'localhost', ...addresses]);
  const path = kubeconfigPath(stateDir);
  return {
    certificates,
    secure: {
      identity: { ...certificates.server, authority: certificates.authority },
      addresses: [
        { host: LOOPBACK, port: port ?? (await freePort(lastPort(path))) },
        ...(inCluster ? [{ fd: inCluster.open() }] : []),
        ...(listen ? [listen] : []),
      ],
    },
    announce: ([loopbackPort]) =>
      replaceFile(path, adminKubeconfig(`https://${LOOPBACK}:${loopbackPort}`, certificates)),
  };
}

/** The port in the previous kubeconfig; 0 if there is none. With an unchanged port users need no new `export`. */
function lastPort(path: string): number {
  try {
    return Number(/^ *server: https:\/\/127\.0\.0\.1:(\d+)$/m.exec(readFileSync(path, 'utf8'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/** `wanted` if it is free, else 0. */
function freePort(wanted: number): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(0));
    probe.listen({ host: LOOPBACK, port: wanted }, () => probe.close(() => resolve(wanted)));
  });
}
