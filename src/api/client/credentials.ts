/**
 * The credentials of a client of an API server: who it trusts, and how it identifies itself. What comes from files is
 * read again when they change, because certificates and service account tokens are replaced while a program runs
 * (client-go transport/cert_rotation.go, token_source.go).
 */
import { readFileSync, statSync } from 'node:fs';

/** A value, or the file that contains it. */
export type Secret = { readonly data: string } | { readonly file: string };

/** Where the credentials come from. */
export interface CredentialSources {
  /** Certificates of the authorities that may have signed the server's. */
  readonly authority?: Secret | undefined;
  readonly certificate?: Secret | undefined;
  readonly key?: Secret | undefined;
  /** A bearer token. */
  readonly token?: Secret | undefined;
  /** User name and password (HTTP basic authentication). */
  readonly basic?: { readonly username: string; readonly password: string } | undefined;
  /** The name to expect in the server's certificate, if it is not the host's. */
  readonly serverName?: string | undefined;
  /** Accept any certificate of the server. */
  readonly insecure?: boolean;
}

/** Options of a TLS connection, in the terms of node:tls. */
export interface TlsOptions {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly servername?: string;
  readonly rejectUnauthorized: boolean;
}

/** How often the files are looked at. */
const CHECK_MS = 1000;

interface Current {
  readonly tls: TlsOptions;
  /** The Authorization header. */
  readonly authorization: string | undefined;
}

/** Credentials, as current as their files. */
export class Credentials {
  private readonly sources: CredentialSources;
  private readonly files: readonly string[];
  private current: Current;
  private stamps: string;
  private checkedAt = performance.now();

  /** @throws Error that names the file that cannot be read */
  constructor(sources: CredentialSources) {
    this.sources = sources;
    this.files = [sources.authority, sources.certificate, sources.key, sources.token].flatMap((secret) =>
      secret !== undefined && 'file' in secret ? [secret.file] : [],
    );
    this.stamps = this.stampsOfFiles();
    this.current = this.read();
  }

  /** While a file cannot be read, because it is being replaced, the former credentials apply. */
  now(): Current {
    if (this.files.length === 0 || performance.now() - this.checkedAt < CHECK_MS) return this.current;
    this.checkedAt = performance.now();
    try {
      const stamps = this.stampsOfFiles();
      if (stamps === this.stamps) return this.current;
      this.current = this.read();
      this.stamps = stamps;
    } catch {
      // The next look decides.
    }
    return this.current;
  }

  private stampsOfFiles(): string {
    return this.files
      .map((file) => {
        const { ino, mtimeMs, size } = statSync(file);
        return `${ino}/${mtimeMs}/${size}`;
      })
      .join();
  }

  private read(): Current {
    const { authority, certificate, key, token, basic, serverName, insecure = false } = this.sources;
    const bearer = textOf(token)?.trim();
    return {
      tls: {
        ...(authority && { ca: textOf(authority)! }),
        ...(certificate && { cert: textOf(certificate)! }),
        ...(key && { key: textOf(key)! }),
        ...(serverName !== undefined && { servername: serverName }),
        rejectUnauthorized: !insecure,
      },
      authorization:
        bearer !== undefined
          ? `Bearer ${bearer}`
          : basic && `Basic ${Buffer.from(`${basic.username}:${basic.password}`).toString('base64')}`,
    };
  }
}

function textOf(secret: Secret | undefined): string | undefined {
  if (secret === undefined) return undefined;
  return 'data' in secret ? secret.data : readFileSync(secret.file, 'utf8');
}
