/** The model as a configuration of nginx. Every text in it has passed a pattern of `model.ts` or is a name of ours. */
import type { Location, Model, Server } from './model.ts';

/** Where the configuration is mounted. */
export const DIRECTORY = '/etc/nginx/ingress';
/** Liveness and readiness, as ingress-nginx's. */
export const HEALTH_PORT = 10254;

export function nginxConfig({ servers, upstreams }: Model): string {
  const named = servers.filter(({ host }) => host !== '');
  const fallback = servers.find(({ host }) => host === '') ?? { host: '', locations: [] };
  return `user nginx;
worker_processes auto;
worker_shutdown_timeout 240s;
error_log /dev/stderr notice;
pid /run/nginx-ingress.pid;

events {
    worker_connections 4096;
}

http {
    access_log /dev/stdout;
    server_tokens off;
    server_names_hash_bucket_size 256;
    variables_hash_max_size 2048;
    keepalive_timeout 75s;
    client_max_body_size 1m;
    proxy_http_version 1.1;
    proxy_connect_timeout 5s;
    proxy_read_timeout 60s;
    proxy_send_timeout 60s;
    proxy_set_header Host $http_host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    proxy_set_header X-Request-ID $request_id;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header X-Forwarded-Port $server_port;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Scheme $scheme;
    proxy_set_header X-Scheme $scheme;
    map $http_upgrade $connection_upgrade {
        default upgrade;
        '' '';
    }
${upstreams
  .filter(({ addresses }) => addresses.length > 0)
  .map(({ name, addresses }) =>
    block(
      `upstream "${name}"`,
      addresses.map((address) => `server ${address};`),
    ),
  )
  .join('\n')}
${block('server', [`listen ${HEALTH_PORT};`, 'access_log off;', 'location /healthz { return 200; }'])}
${[serverBlock(fallback, upstreams), ...named.map((server) => serverBlock(server, upstreams))].join('\n')}
}
`;
}

const block = (head: string, lines: readonly string[]): string =>
  `    ${head} {\n${lines.map((line) => `        ${line}\n`).join('')}    }`;

function serverBlock({ host, certificate, locations }: Server, upstreams: Model['upstreams']): string {
  const listens = host === '' ? ' default_server' : '';
  const file = `${DIRECTORY}/${certificate ?? 'default'}`;
  const served = new Map(upstreams.map((upstream) => [upstream.name, upstream.addresses.length > 0]));
  return block('server', [
    `listen 80${listens};`,
    `listen 443 ssl${listens};`,
    `server_name ${serverName(host)};`,
    `ssl_certificate ${file}.crt;`,
    `ssl_certificate_key ${file}.key;`,
    ...locations.map((location) => locationLine(location, served.get(location.upstream) === true)),
    ...(locations.some(({ modifier, path }) => modifier === '' && path === '/') ? [] : ['location / { return 404; }']),
  ]);
}

/** A wildcard stands for one label (networking/v1 IngressRule). */
function serverName(host: string): string {
  if (host === '') return '_';
  if (!host.startsWith('*.')) return host;
  return `"~^[a-z0-9-]+${host.slice(1).replaceAll('.', '\\.')}$"`;
}

function locationLine(
  { modifier, path, upstream, scheme, rewrite, redirectToTls, bodySize }: Location,
  served: boolean,
) {
  const parts = [
    ...(redirectToTls ? ['if ($scheme = http) { return 308 https://$host$request_uri; }'] : []),
    ...(bodySize === undefined ? [] : [`client_max_body_size ${bodySize};`]),
    ...(served && rewrite ? [`rewrite ${quoted(rewrite[0])} ${quoted(rewrite[1])} break;`] : []),
    served ? `proxy_pass ${scheme}://${upstream};` : 'return 503;',
  ];
  return `location ${modifier === '' ? '' : `${modifier} `}${quoted(path)} { ${parts.join(' ')} }`;
}

const quoted = (text: string): string => `"${text.replace(/["\\]/g, '\\$&')}"`;
