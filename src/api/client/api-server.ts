/** Where an API server is: a unix socket, an URL, what a kubeconfig file names, or the cluster that a pod runs in. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parse } from 'yaml';
import { type CredentialSources, Credentials, type Secret } from './credentials.ts';

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

interface NamedEntry {
  name?: unknown;
  cluster?: Record<string, unknown>;
  user?: Record<string, unknown>;
  context?: Record<string, unknown>;
}

/** How a user can identify itself that needs a program or a service. */
const UNSUPPORTED = ['exec', 'auth-provider', 'as', 'as-uid', 'as-groups'];

/**
 * The server that a kubeconfig file's current context names. Paths in it are relative to its folder (client-go
 * tools/clientcmd/loader.go).
 * @throws Error that names the file and what is wrong with it
 */
export function serverOfKubeconfig(file: string): ApiServer {
  const wrong = (what: string): Error => new Error(`kubeconfig ${file}: ${what}`);
  let config: Record<string, unknown>;
  try {
    config = parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  } catch (error) {
    throw wrong((error as Error).message.split('\n')[0] as string);
  }
  if (typeof config !== 'object' || config === null) throw wrong('it is empty');
  const find = (list: string, name: unknown): NamedEntry => {
    const entries = Array.isArray(config[list]) ? (config[list] as NamedEntry[]) : [];
    const entry = entries.find((one) => one?.name === name);
    if (entry === undefined) throw wrong(`it has no entry ${JSON.stringify(name)} in ${list}`);
    return entry;
  };
  const current = config['current-context'];
  if (typeof current !== 'string' || current === '') throw wrong('no current-context is set');
  const context = find('contexts', current).context ?? {};
  const cluster = find('clusters', context.cluster).cluster ?? {};
  const user = context.user === undefined ? {} : (find('users', context.user).user ?? {});
  const unsupported = UNSUPPORTED.find((field) => user[field] !== undefined);
  if (unsupported !== undefined) {
    throw wrong(
      `user ${context.user} uses ${unsupported}; only tokens, client certificates and passwords are supported`,
    );
  }
  if (cluster['proxy-url'] !== undefined)
    throw wrong(`cluster ${context.cluster} uses proxy-url, which is not supported`);

  const text = (of: Record<string, unknown>, field: string): string | undefined =>
    typeof of[field] === 'string' && of[field] !== '' ? (of[field] as string) : undefined;
  /** The inline value takes precedence over the file, as in client-go. */
  const secret = (of: Record<string, unknown>, field: string): Secret | undefined => {
    const data = text(of, `${field}-data`);
    if (data !== undefined) return { data: Buffer.from(data, 'base64').toString('utf8') };
    const path = text(of, field);
    return path === undefined ? undefined : { file: resolve(dirname(file), path) };
  };
  const token = text(user, 'token');
  const tokenFile = text(user, 'tokenFile');
  const username = text(user, 'username');
  const url = text(cluster, 'server');
  if (url === undefined || !URL.canParse(url)) throw wrong(`cluster ${context.cluster} has no server URL`);
  try {
    return serverOf(url, {
      authority: secret(cluster, 'certificate-authority'),
      serverName: text(cluster, 'tls-server-name'),
      insecure: cluster['insecure-skip-tls-verify'] === true,
      certificate: secret(user, 'client-certificate'),
      key: secret(user, 'client-key'),
      token:
        tokenFile !== undefined
          ? { file: resolve(dirname(file), tokenFile) }
          : token === undefined
            ? undefined
            : { data: token },
      basic: username === undefined ? undefined : { username, password: text(user, 'password') ?? '' },
    });
  } catch (error) {
    throw wrong((error as Error).message);
  }
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

function serverOf(text: string, sources: CredentialSources): ApiServer {
  const url = new URL(text);
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    throw new Error(`server ${text}: expected https://HOST:PORT`);
  if (url.protocol === 'http:') return { name: text, ...placeOf(url) };
  return { name: text, ...placeOf(url), credentials: new Credentials(sources) };
}
