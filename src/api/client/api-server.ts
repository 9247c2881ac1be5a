/** Where an API server is: a unix socket, a URL, or the cluster that a pod runs in (kubeconfig.ts: what a file names). */
import { existsSync } from 'node:fs';
import { type CredentialSources, Credentials } from './credentials.ts';

/** An API server, and how its clients identify themselves. */
export interface ApiServer {
  /** As it is named in messages. */
  readonly name: string;
  readonly where: { readonly socketPath: string } | { readonly host: string; readonly port: number };
  /** What its URL has before `/api`; usually empty. */
  readonly basePath: string;
  /** Present for https. */
  readonly credentials?: Credentials;
}

/** @param target the path of a unix socket, or `http://host:port`. @throws TypeError for another URL */
export function serverAt(target: string): ApiServer {
  if (!/^https?:/.test(target)) {
    return { name: target, where: { socketPath: target.replace(/^unix:(\/\/)?/, '') }, basePath: '' };
  }
  const url = new URL(target);
  if (url.protocol !== 'http:') {
    throw new TypeError(`${target}: expected an http:// URL or the path of a unix socket; https needs a kubeconfig`);
  }
  return { name: target, ...placeOf(url) };
}

function placeOf(url: URL): Pick<ApiServer, 'where' | 'basePath'> {
  const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
  return {
    where: { host: url.hostname.replace(/^\[|\]$/g, ''), port },
    basePath: url.pathname.replace(/\/+$/, ''),
  };
}

/** Where Kubernetes puts a pod's service account (pkg/serviceaccount, plugin/pkg/admission/serviceaccount). */
const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

/** The API server of the cluster in which this process runs as a pod. @throws Error outside a pod */
export function serverOfPod(environment: NodeJS.ProcessEnv = process.env, directory = SERVICE_ACCOUNT): ApiServer {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = '443' } = environment;
  const token = `${directory}/token`;
  if (host === undefined || host === '' || !existsSync(token)) {
    throw new Error(
      `not in a pod of a cluster: KUBERNETES_SERVICE_HOST is ${host ? 'set' : 'not set'}, ${token} ${existsSync(token) ? 'exists' : 'does not exist'}`,
    );
  }
  return serverOf(`https://${host.includes(':') ? `[${host}]` : host}:${port}`, {
    authority: { file: `${directory}/ca.crt` },
    token: { file: token },
  });
}

/** @param text its URL. @throws Error for another scheme than http and https, or a file that cannot be read */
export function serverOf(text: string, sources: CredentialSources): ApiServer {
  const url = new URL(text);
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    throw new Error(`server ${text}: expected https://HOST:PORT`);
  if (url.protocol === 'http:') return { name: text, ...placeOf(url) };
  return { name: text, ...placeOf(url), credentials: new Credentials(sources) };
}
