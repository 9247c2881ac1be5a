import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Catalogue, loadCatalogue, parseImages } from '../../../../src/runtime/image/catalogue.ts';

const NOWHERE = '/nonexistent';

test('find: any tag, digest and default registry of a name without a tag', () => {
  const catalogue = loadCatalogue([], NOWHERE);
  for (const name of ['nginx', 'nginx:alpine', 'docker.io/library/nginx:1.27', 'nginx@sha256:00']) {
    assert.is(catalogue.find(name)?.package, 'nginx', name);
  }
  assert.ok(catalogue.find('training/webapp:latest'));
  assert.is(catalogue.find('nginx-extra'), undefined);
  assert.is(catalogue.find('localhost:5000/nginx'), undefined);
});

test('find: an entry without a registry stands for its copies in public registries, not for private images', () => {
  const catalogue = loadCatalogue([], NOWHERE);
  const copies = [
    'registry.k8s.io',
    'registry.k8s.io/e2e-test-images',
    'mirror.gcr.io/library',
    'public.ecr.aws/docker/library',
  ];
  for (const registry of copies) assert.ok(catalogue.find(`${registry}/busybox:1.36`), registry);
  assert.equal(catalogue.find('registry.k8s.io/pause:3.10')?.entrypoint, ['sleep', 'infinity']);
  for (const name of ['example.com/busybox:1.36', 'localhost/busybox', 'quay.io/team/nginx']) {
    assert.is(catalogue.find(name), undefined, name);
  }
});

test('find: later entries win, a tag in the entry must match, * is any text', () => {
  const entry = (name: string, program: string) => ({ names: [name], entrypoint: [program] });
  const catalogue = new Catalogue([entry('a', '1'), entry('a:x', '2'), entry('reg:5000/*', '3')]);
  assert.is(catalogue.find('a')?.entrypoint?.[0], '1');
  assert.is(catalogue.find('a:x')?.entrypoint?.[0], '2');
  assert.is(catalogue.find('reg:5000/b/c:1')?.entrypoint?.[0], '3');
});

test('parseImages: errors name file, entry and field', () => {
  assert.throws(() => parseImages('x: 1', 'f.yaml'), /f\.yaml: expected "images:"/);
  assert.throws(
    () => parseImages('images: [{names: [a], entrypont: [b]}]', 'f.yaml'),
    /images\[0\]\.entrypont: no such field/,
  );
  assert.throws(
    () => parseImages('images: [{names: [a], entrypoint: b}]', 'f.yaml'),
    /images\[0\]\.entrypoint: wrong type/,
  );
  assert.throws(() => parseImages('images: [{entrypoint: [b]}]', 'f.yaml'), /images\[0\]\.names/);
  assert.equal(parseImages('images: [{names: [a], cmd: [b]}]', 'f'), [{ names: ['a'], cmd: ['b'] }]);
});

test('parseImages: a word that begins with ./ or ../ is a path relative to the file', () => {
  const text = 'images: [{names: [a], entrypoint: [node, ../dist/a.js], cmd: [./b, --x=./c]}]';
  const [image] = parseImages(text, '/srv/shop/catalogue.yaml');
  assert.equal(image?.entrypoint, ['node', '/srv/dist/a.js']);
  assert.equal(image?.cmd, ['/srv/shop/b', '--x=./c']);
});

test('the arguments of redis, node and curl are those of their official images', () => {
  const directory = mkdtempSync(join(tmpdir(), 'catalogue-'));
  for (const name of ['redis-server', 'curl']) {
    writeFileSync(join(directory, name), `#!/bin/sh\necho ${name} "$@"\n`, { mode: 0o755 });
  }
  const run = (image: string, ...args: string[]) => {
    const { entrypoint } = loadCatalogue([], NOWHERE).find(image)!;
    const env = { ...process.env, PATH: `${directory}:${process.env.PATH}` };
    return execFileSync(entrypoint![0]!, [...entrypoint!.slice(1), ...args], { env, encoding: 'utf8' }).trim();
  };
  const redis = 'redis-server --protected-mode no';
  assert.is(run('redis:7'), redis);
  assert.is(run('redis:7', '--save', ''), `${redis} --save`);
  assert.is(run('redis:7', 'redis-server', '--appendonly', 'yes'), `${redis} --appendonly yes`);
  assert.is(run('redis:7', 'redis-server', '/etc/redis.conf'), 'redis-server /etc/redis.conf --protected-mode no');
  assert.is(run('redis:7', 'sh', '-c', 'echo other'), 'other');
  assert.is(run('node:20', 'node', '-p', '1+1'), '2');
  assert.is(run('node:20', '-p', '1+1'), '2');
  assert.is(run('curlimages/curl', '-s', 'http://x'), 'curl -s http://x');
  assert.is(run('curlimages/curl', 'curl', '-s'), 'curl -s');
  rmSync(directory, { recursive: true });
});

test.run();
