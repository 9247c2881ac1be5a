/** The API server and the credentials that a kubeconfig file names. */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parse } from 'yaml';
import { type ApiServer, serverOf } from './api-server.ts';
import type { Secret } from './credentials.ts';

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
