import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Ingress, IngressPath } from '../../../../src/api/types/objects.ts';
import { type Model, modelOf, type Surroundings } from '../../../../src/controllers/ingress/model.ts';
import { nginxConfig } from '../../../../src/controllers/ingress/nginx-config.ts';

const around: Surroundings = {
  resolve: (namespace, name, { number, name: port }) =>
    name === 'missing'
      ? `service "${namespace}/${name}" was not found`
      : name === 'idle'
        ? []
        : [`${name}:${number ?? port}`],
  certificate: (namespace, name) => (name === 'bad' ? 'no key' : { name: `${namespace}-${name}` }),
};

const backend = (name: string) => ({ service: { name, port: { number: 80 } } });
const path = (text: string, name = 'web', pathType: IngressPath['pathType'] = 'Prefix'): IngressPath => ({
  path: text,
  pathType,
  backend: backend(name),
});

function ingress(name: string, spec: Ingress['spec'], annotations: Record<string, string> = {}, age = 1): Ingress {
  const prefixed = Object.entries(annotations).map(([key, value]) => [`nginx.ingress.kubernetes.io/${key}`, value]);
  const creationTimestamp = new Date(Date.UTC(2026, 0, 1, 0, 0, 100 - age)).toISOString();
  const metadata = { name, namespace: 'default', creationTimestamp, annotations: Object.fromEntries(prefixed) };
  return { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress', metadata, spec } as Ingress;
}

const host = (name: string, ...paths: IngressPath[]) => ({ host: name, http: { paths } });
const places = (model: Model, of = 'a.com') =>
  model.servers
    .find((server) => server.host === of)
    ?.locations.map(
      ({ modifier, path: text, upstream }) => `${modifier}${text} ${upstream.replace(/^default-|-80$/g, '')}`,
    )
    .sort();
const one = (spec: Ingress['spec'], annotations?: Record<string, string>) =>
  modelOf([ingress('i', spec, annotations)], around);

test('a prefix matches whole elements of a path, an exact path itself alone', () => {
  const paths = [path('/'), path('/foo', 'foo'), path('/bar/', 'bar'), path('/bar', 'exact', 'Exact')];
  const model = one({ rules: [host('a.com', ...paths)] });
  assert.equal(places(model), ['/ web', '/bar/ bar', '/foo/ foo', '=/bar bar', '=/foo foo'].map((each) => each).sort());
});

test('an exact path before a prefix of the same Ingress keeps its own backend', () => {
  const model = one({ rules: [host('a.com', path('/bar', 'exact', 'Exact'), path('/bar', 'bar'))] });
  assert.equal(places(model), ['/bar/ bar', '=/bar exact']);
});

test('of two Ingresses with the same host and path the older one counts', () => {
  const young = ingress('a', { rules: [host('a.com', path('/', 'young'))] }, {}, 1);
  const old = ingress('b', { rules: [host('a.com', path('/', 'old'))] }, {}, 50);
  assert.equal(places(modelOf([young, old], around)), ['/ old']);
});

test('the default backend gets what no rule matches, of the hosts and of all others', () => {
  const model = one({ defaultBackend: backend('rest'), rules: [host('a.com', path('/x', 'x'))] });
  assert.equal(places(model), ['/ rest', '/x/ x', '=/x x']);
  assert.equal(places(model, ''), ['/ rest']);
});

test('with a rewrite the paths of a host are regular expressions, the longest first', () => {
  const rewriting = ingress(
    'r',
    { rules: [host('a.com', path('/api(/|$)(.*)', 'api', 'ImplementationSpecific'))] },
    { 'rewrite-target': '/$2' },
    9,
  );
  const plain = ingress('p', { rules: [host('a.com', path('/', 'web'), path('/a.b', 'dot', 'Exact'))] });
  const model = modelOf([rewriting, plain], around);
  const { locations } = model.servers[0]!;
  assert.equal(
    locations.map(({ modifier, path: text }) => modifier + text),
    ['~*^/api(/|$)(.*)', '=/a.b', '~*^/'],
  );
  assert.equal(locations[0]!.rewrite, ['(?i)/api(/|$)(.*)', '/$2']);
  assert.match(nginxConfig(model), 'rewrite "(?i)/api(/|$)(.*)" "/$2" break; proxy_pass http://default-api-80;');
});

test('hosts with TLS redirect to it, unless the Ingress says otherwise', () => {
  const spec = {
    tls: [{ hosts: ['a.com'], secretName: 'cert' }],
    rules: [host('a.com', path('/')), host('b.com', path('/'))],
  };
  const redirects = (model: Model) => model.servers.map(({ locations }) => locations[0]!.redirectToTls);
  assert.equal(redirects(one(spec)), [true, false]);
  assert.equal(redirects(one(spec, { 'ssl-redirect': 'false' })), [false, false]);
  assert.equal(redirects(one(spec, { 'force-ssl-redirect': 'true' })), [true, true]);
  assert.is(one(spec).servers[0]!.certificate, 'default-cert');
  assert.match(nginxConfig(one(spec)), 'ssl_certificate /etc/nginx/ingress/default-cert.crt;');
});

test('a Service without ready endpoints is answered with 503, an unknown host with 404', () => {
  const text = nginxConfig(one({ rules: [host('a.com', path('/', 'idle'))] }));
  assert.match(text, 'location "/" { return 503; }');
  assert.not.match(text, 'upstream "default-idle');
  assert.match(text, 'listen 80 default_server;\n        listen 443 ssl default_server;\n        server_name _;');
  assert.match(text, 'location / { return 404; }');
});

test('a wildcard stands for one label', () => {
  assert.match(nginxConfig(one({ rules: [host('*.a.com', path('/'))] })), 'server_name "~^[a-z0-9-]+\\.a\\.com$";');
});

test('what cannot be served is named, and nothing of it reaches the configuration', () => {
  const attack = '/x" { } location "/y';
  const paths = [path(attack), path('/ok'), path('/m', 'missing'), path('/a{2}b', 'web', 'ImplementationSpecific')];
  const model = one(
    { tls: [{ hosts: ['a.com'], secretName: 'bad' }], rules: [host('a.com', ...paths)] },
    { 'rewrite-target': '/x; return 200', 'configuration-snippet': 'evil;' },
  );
  const problems = model.problems.get('default/i')!;
  for (const part of [
    'annotation nginx.ingress.kubernetes.io/configuration-snippet is not supported and has no effect',
    'annotation nginx.ingress.kubernetes.io/rewrite-target contains an invalid value',
    `path ${JSON.stringify(attack)} cannot be used for nginx`,
    'path "/a{2}b" cannot be used for nginx',
    'service "default/missing" was not found',
    'Error obtaining X.509 certificate: no key; the default certificate is used',
  ]) {
    assert.ok(
      problems.some((problem) => problem.includes(part)),
      `${part} in ${problems.join('\n')}`,
    );
  }
  const text = nginxConfig(model);
  assert.not.match(text, 'evil');
  assert.not.match(text, 'return 200;\n');
  assert.not.match(text, '/y');
  assert.match(text, 'location "/ok/"');
});

test.run();
