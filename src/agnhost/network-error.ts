/** Errors of sockets and names with the texts of Go's standard library, which tests look for. */

const TEXTS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset by peer',
  EHOSTUNREACH: 'no route to host',
  ENETUNREACH: 'network is unreachable',
  ETIMEDOUT: 'connection timed out',
  EADDRINUSE: 'address already in use',
  EACCES: 'permission denied',
  EPERM: 'operation not permitted',
  EPIPE: 'broken pipe',
  EADDRNOTAVAIL: 'cannot assign requested address',
  EINVAL: 'invalid argument',
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'server misbehaving',
};

export const describeError = (error: NodeJS.ErrnoException): string => TEXTS[error.code ?? ''] ?? error.message;
