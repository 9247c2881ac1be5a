/** Two sites behind one Ingress: by name, by path, one with TLS. */
import * as assert from 'uvu/assert';
import { applicationSuite } from '../../lib/applications.ts';
import { eventually } from '../../lib/cluster.ts';

const { test, app } = applicationSuite('sites', { files: 'sites', programs: ['nginx|/usr/sbin/nginx'] });
let http: number;
let https: number;
const at = (host: string, path: string) => [`http://172.18.0.11:${http}${path}`, '-H', `Host: ${host}`] as const;

test('both sites are served soon after `up`', async () => {
  const { spec } = await app.api.get('Service', 'ingress-nginx-controller', 'ingress-nginx');
  [http, https] = spec.ports!.map(({ nodePort }) => nodePort!) as [number, number];
  await eventually(async () => {
    await app.page(...at('music.example.com', '/api/version'), '-f');
    await app.page(`https://172.18.0.12:${https}/`, '-f', '-k', '-H', 'Host: books.example.com');
    return true;
  }, 20_000);
});

test('each host leads to its own site, and a host without rules nowhere', async () => {
  assert.is(await app.page(...at('music.example.com', '/api/version')), '{"site":"music","version":3}');
  assert.is(await app.page(...at('music.example.com', '/')), 'music\n');
  assert.match(await app.page(...at('music.example.com', '/other'), '-w', '%{http_code}'), /404$/);
  assert.match(await app.page(...at('nobody.example.com', '/'), '-w', '%{http_code}'), /404$/);
});

test('the host with a certificate is served over TLS with it, and plain requests are sent there', async () => {
  const to = ['--resolve', `books.example.com:${https}:172.18.0.12`, '-k'];
  assert.is(await app.page(`https://books.example.com:${https}/`, ...to), 'books\n');
  const detail = await app.cluster.exec('dp-outside', [
    ...[
      'sh',
      '-c',
      `openssl s_client -connect 172.18.0.12:${https} -servername books.example.com </dev/null 2>/dev/null`,
    ],
  ]);
  assert.match(detail.stdout, /subject=CN = books\.example\.com/);
  assert.match(await app.page(...at('books.example.com', '/'), '-o', '/dev/null', '-w', '%{http_code}'), /^308$/);
});

test('both sites are replaced without a failed request', async () => {
  const requests = [
    { url: `http://172.18.0.11:${http}/api/version`, headers: { Host: 'music.example.com' }, expect: '"music"' },
    { url: `https://172.18.0.12:${https}/`, headers: { Host: 'books.example.com' }, expect: '^books\n$' },
  ];
  await app.underLoad(requests, async () => {
    await Promise.all([app.rollOut('Deployment', 'books'), app.rollOut('Deployment', 'music')]);
  });
});

test.run();
