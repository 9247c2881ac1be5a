import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ensureCertificates } from '../../../../src/controllers/access/certificates.ts';

const DAY_MS = 24 * 3600 * 1000;
const NAMES = ['kubernetes.default', '127.0.0.1', '10.96.0.1'];
const directory = mkdtempSync(join(tmpdir(), 'dataplane-test-'));
test.after(() => rmSync(directory, { recursive: true }));

test('the CA signs the leaf certificates; the server has its names, the administrator the group system:masters', async () => {
  const made = await ensureCertificates(directory, NAMES);
  const authority = new X509Certificate(made.authority);
  const server = new X509Certificate(made.server.certificate);
  const admin = new X509Certificate(made.admin.certificate);
  assert.ok(authority.ca);
  for (const leaf of [server, admin]) assert.ok(!leaf.ca && leaf.verify(authority.publicKey));
  assert.is(server.checkHost('kubernetes.default'), 'kubernetes.default');
  assert.is(server.checkIP('10.96.0.1'), '10.96.0.1');
  assert.is(server.checkHost('example.org'), undefined);
  assert.equal(admin.subject.split('\n').sort(), ['CN=kubernetes-admin', 'O=system:masters']);
});

test('all files are readable only by their owner', () => {
  assert.is(statSync(directory).mode & 0o777, 0o700);
  for (const name of readdirSync(directory)) assert.is(statSync(join(directory, name)).mode & 0o777, 0o600, name);
});

test('valid certificates are kept; new names or a close expiry renew the leaf certificate, not the CA', async () => {
  const first = await ensureCertificates(directory, NAMES);
  assert.equal(await ensureCertificates(directory, NAMES), first);
  const renamed = await ensureCertificates(directory, [...NAMES, '172.18.0.1']);
  assert.is(renamed.authority, first.authority);
  assert.is(renamed.admin.certificate, first.admin.certificate);
  assert.is(new X509Certificate(renamed.server.certificate).checkIP('172.18.0.1'), '172.18.0.1');
  const later = await ensureCertificates(directory, NAMES, Date.now() + 340 * DAY_MS);
  assert.is(later.authority, first.authority);
  assert.is.not(later.admin.certificate, first.admin.certificate);
  assert.is(later.serviceAccountKey, first.serviceAccountKey);
});

test('a certificate of another CA, or an incomplete file, is replaced', async () => {
  writeFileSync(join(directory, 'admin.crt'), '-----BEGIN CERTIFICATE-----\nMIIB');
  const { authority, admin } = await ensureCertificates(directory, NAMES);
  assert.ok(new X509Certificate(admin.certificate).verify(new X509Certificate(authority).publicKey));
  rmSync(join(directory, 'ca.crt'));
  const anew = await ensureCertificates(directory, NAMES);
  assert.is.not(anew.authority, authority);
  for (const { certificate } of [anew.server, anew.admin]) {
    assert.ok(new X509Certificate(certificate).verify(new X509Certificate(anew.authority).publicKey));
  }
});

test.run();
