/** The built-in catalogue. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { CatalogueImage } from './catalogue-image.ts';

/** Like the official image's configuration: includes everything in conf.d, logs to the container's output. */
const NGINX_CONF = `user nginx;
worker_processes auto;
error_log /var/log/nginx/error.log notice;
pid /run/nginx.pid;

events {
    worker_connections 1024;
}

http {
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    access_log /var/log/nginx/access.log;
    sendfile on;
    keepalive_timeout 65;
    include /etc/nginx/conf.d/*.conf;
}
`;

const NGINX_DEFAULT_SERVER = `server {
    listen 80;
    server_name localhost;

    location / {
        root /usr/share/nginx/html;
        index index.html index.htm;
    }
}
`;

const NGINX_PAGE = `<!DOCTYPE html>
<html>
<head><title>Welcome to nginx!</title></head>
<body><h1>Welcome to nginx!</h1><p>The server runs; nothing has been configured yet.</p></body>
</html>
`;

/**
 * The first start creates the database, with the user, password and name that the official image's variables give. The
 * server and initdb refuse to run as root.
 */
const POSTGRES_SCRIPT = `
set -e
PATH=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1):$PATH
command -v initdb >/dev/null || { echo 'initdb: no such file or directory (install it: apt-get install postgresql)' >&2; exit 127; }
user=\${POSTGRES_USER:-postgres}
mkdir -p "$PGDATA" /var/run/postgresql
as=
if [ "$(id -u)" = 0 ]; then
  chown postgres "$PGDATA" /var/run/postgresql
  as='setpriv --reuid=postgres --regid=postgres --init-groups'
fi
chmod 700 "$PGDATA"
export HOME=/tmp PGPASSWORD="$POSTGRES_PASSWORD"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  [ -n "$POSTGRES_PASSWORD" ] || [ "$POSTGRES_HOST_AUTH_METHOD" = trust ] || {
    echo 'POSTGRES_PASSWORD is not set (or POSTGRES_HOST_AUTH_METHOD=trust)' >&2; exit 1; }
  method=\${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
  printf '%s\n' "\${POSTGRES_PASSWORD:-unused}" > /tmp/.password && chmod 644 /tmp/.password
  $as initdb -D "$PGDATA" -U "$user" --pwfile=/tmp/.password --auth-local=trust --auth-host="$method" \
    --no-sync $POSTGRES_INITDB_ARGS >/dev/null
  rm /tmp/.password
  printf '\nhost all all all %s\n' "$method" >> "$PGDATA/pg_hba.conf"
  $as pg_ctl -D "$PGDATA" -o "-c listen_addresses='' -c fsync=off" -w -s start
  name=\${POSTGRES_DB:-$user}
  [ "$name" = postgres ] || $as createdb -U "$user" "$name"
  for file in /docker-entrypoint-initdb.d/*; do
    case $file in
      *.sql) $as psql -X -q -v ON_ERROR_STOP=1 -U "$user" -d "$name" -f "$file" ;;
      *.sh) . "$file" ;;
    esac
  done
  $as pg_ctl -D "$PGDATA" -m fast -w -s stop
fi
[ "$1" = postgres ] && shift
exec $as postgres -D "$PGDATA" -c listen_addresses='*' "$@"
`;

/** `redis-server` may be left out, or be followed by a configuration file. */
const REDIS_SCRIPT = `
case $1 in
  redis-server) shift ;;
  '' | -* | *.conf) ;;
  *) exec "$@" ;;
esac
case $1 in *.conf) file=$1; shift ;; esac
exec redis-server $file --protected-mode no "$@"
`;

/** As in many official images: the arguments are those of this program, unless they begin with another program. */
const entrypointOf = (program: string): string[] => [
  'sh',
  '-c',
  `case $1 in -*) ;; *) command -v -- "$1" >/dev/null 2>&1 && exec "$@" ;; esac; exec ${program} "$@"`,
  'docker-entrypoint',
];

export function builtInImages(): CatalogueImage[] {
  const agnhost = join(projectRoot(), 'dist/bundle/agnhost/main.js');
  return [
    {
      names: ['nginx', 'nginx-slim'],
      entrypoint: ['/usr/sbin/nginx', '-g', 'daemon off;'],
      users: [{ name: 'nginx', uid: 101, gid: 101, home: '/nonexistent', shell: '/bin/false' }],
      directories: ['/var/log/nginx', '/var/lib/nginx', '/var/cache/nginx', '/etc/nginx/conf.d'],
      files: {
        '/etc/nginx/nginx.conf': NGINX_CONF,
        '/etc/nginx/conf.d/default.conf': NGINX_DEFAULT_SERVER,
        '/usr/share/nginx/html/index.html': NGINX_PAGE,
      },
      links: { '/var/log/nginx/access.log': '/dev/stdout', '/var/log/nginx/error.log': '/dev/stderr' },
      stopSignal: 'SIGQUIT',
      package: 'nginx',
    },
    {
      names: ['training/webapp'],
      entrypoint: [process.execPath, join(projectRoot(), 'demo/webapp/webapp.mjs')],
    },
    { names: ['process'], hostPath: true },
    { names: ['busybox', 'alpine', 'debian', 'ubuntu'], cmd: ['sh'], hostPath: true },
    { names: ['pause', 'registry.k8s.io/pause'], entrypoint: ['sleep', 'infinity'] },
    {
      names: ['agnhost'],
      entrypoint: ['/agnhost'],
      cmd: ['pause'],
      links: { '/agnhost': agnhost, '/agnhost-2': agnhost },
      directories: ['/uploads'],
      hostPath: true,
    },
    { names: ['node'], entrypoint: entrypointOf(process.execPath), hostPath: true },
    { names: ['python'], cmd: ['python3'], links: { '/usr/local/bin/python': '/usr/bin/python3' }, hostPath: true },
    { names: ['perl'], cmd: ['perl'], package: 'perl', hostPath: true },
    { names: ['curlimages/curl', 'curl/curl'], entrypoint: entrypointOf('curl'), package: 'curl' },
    {
      names: ['redis'],
      entrypoint: ['sh', '-c', REDIS_SCRIPT, 'redis'],
      directories: ['/data'],
      workingDir: '/data',
      package: 'redis-server',
    },
    {
      names: ['postgres'],
      entrypoint: ['sh', '-c', POSTGRES_SCRIPT, 'postgres'],
      env: { PGDATA: '/var/lib/postgresql/data', LANG: 'C.UTF-8' },
      stopSignal: 'SIGINT',
      package: 'postgresql',
    },
  ];
}

/** The package's directory, in which demo lies, seen from dist/src/runtime and dist/bundle/cli as from src/runtime. */
function projectRoot(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, 'demo/webapp')) && directory !== '/') directory = dirname(directory);
  return directory;
}
