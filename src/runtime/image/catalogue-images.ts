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

export function builtInImages(): CatalogueImage[] {
  return [
    {
      names: ['nginx'],
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
  ];
}

/** The directory of our package.json, seen from dist/src/runtime as from src/runtime. */
function projectRoot(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, 'package.json')) && directory !== '/') directory = dirname(directory);
  return directory;
}
