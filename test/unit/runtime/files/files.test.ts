import {
  appendFileSync,
  closeSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ConfigMap, Pod } from '../../../../src/api/types/objects.ts';
import { findProcess, isAlive, lacksHandler, parseStat } from '../../../../src/linux/processes.ts';
import { beginLog, boundLog, logTail } from '../../../../src/runtime/container/logs.ts';
import { ConfigSource } from '../../../../src/runtime/files/config-source.ts';
import { accountFiles, hostsFile, kernelHostname, resolvConf } from '../../../../src/runtime/files/etc-files.ts';
import { hostMounts, layeredMounts, mountOf } from '../../../../src/runtime/files/host-mounts.ts';
import { insidePath } from '../../../../src/runtime/files/volume-files.ts';
import { prepareVolumes, type VolumeVersions } from '../../../../src/runtime/files/volumes.ts';
import { netnsNameOf } from '../../../../src/runtime/pod/sandbox.ts';
import { fstabField, quote } from '../../../../src/runtime/shell.ts';

const directory = mkdtempSync(join(tmpdir(), 'runtime-files-'));
test.after(() => rmSync(directory, { recursive: true }));

test('logs: the log of the previous instance is rotated; one that is too long is truncated while it is open', () => {
  closeSync(beginLog(directory, 'c'));
  appendFileSync(join(directory, 'c.log'), 'first\n');
  const log = beginLog(directory, 'c');
  assert.is(readFileSync(join(directory, 'c.previous.log'), 'utf8'), 'first\n');
  writeSync(log, 'x'.repeat(100));
  boundLog(directory, 'c', 99);
  writeSync(log, 'after\n');
  closeSync(log);
  assert.is(readFileSync(join(directory, 'c.log'), 'utf8'), 'after\n');
  assert.is(statSync(join(directory, 'c.log.1')).size, 99, 'the end of it');
  writeFileSync(join(directory, 'c.log'), `${'y'.repeat(3000)}\n${'line\n'.repeat(100)}`);
  assert.is(logTail(directory, 'c'), 'line\n'.repeat(80));
  assert.is(logTail(directory, 'nobody'), '');
});

test('volumes: a ConfigMap changes atomically, removed keys disappear', async () => {
  let map = { metadata: { uid: 'u', resourceVersion: '1' }, data: { a: '1', b: '2' } } as unknown as ConfigMap;
  const source = new ConfigSource({ getConfigMap: () => map, getSecret: () => undefined });
  const volumes = [{ name: 'v', configMap: { name: 'm', defaultMode: 0o400 } }];
  const pod = { metadata: { name: 'p' }, spec: { containers: [], volumes } } as unknown as Pod;
  const versions: VolumeVersions = new Map();
  const facts = { podIP: '10.244.1.2', hostIP: '172.18.0.11' };
  await prepareVolumes(pod, directory, source, versions, facts);
  const at = (name: string) => join(directory, 'volumes/v', name);
  assert.is(readFileSync(at('b'), 'utf8'), '2');
  assert.is(statSync(at('a')).mode & 0o777, 0o400);
  const before = readlinkSync(at('..data'));
  await prepareVolumes(pod, directory, source, versions, facts);
  assert.is(readlinkSync(at('..data')), before);
  map = { metadata: { uid: 'u', resourceVersion: '2' }, data: { a: '3' } } as unknown as ConfigMap;
  await prepareVolumes(pod, directory, source, versions, facts);
  assert.is(readFileSync(at('a'), 'utf8'), '3');
  assert.throws(() => statSync(at('b')), /ENOENT/);
  assert.throws(() => statSync(at(before)), /ENOENT/);
});

test('paths stay inside their volume', () => {
  assert.is(insidePath('a/./b'), 'a/b');
  for (const path of ['../a', '/a', 'a/../../b']) assert.throws(() => insidePath(path), /leads out/);
});

test('hosts, resolv.conf, accounts', () => {
  const spec = { hostname: 'h', subdomain: 's', hostAliases: [{ ip: '1.2.3.4', hostnames: ['x', 'y'] }] };
  const pod = { metadata: { name: 'p', namespace: 'ns' }, spec } as unknown as Pod;
  assert.match(hostsFile(pod, '10.244.1.2', 'cluster.local'), /^10\.244\.1\.2\th\.s\.ns\.svc\.cluster\.local\th$/m);
  assert.match(hostsFile(pod, '10.244.1.2', 'cluster.local'), /^1\.2\.3\.4\tx\ty$/m);
  const dns = { nameservers: ['10.96.0.10'], domain: 'cluster.local' };
  const expected =
    'search ns.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n';
  assert.is(resolvConf(pod, dns), expected);
  const none = {
    ...pod,
    spec: { ...spec, dnsPolicy: 'None', dnsConfig: { nameservers: ['9.9.9.9'] } },
  } as unknown as Pod;
  assert.is(resolvConf(none, dns), 'nameserver 9.9.9.9\n');
  const options = [{ name: 'ndots', value: '2' }, { name: 'edns0' }];
  const merged = { ...pod, spec: { ...spec, dnsConfig: { options } } } as unknown as Pod;
  assert.match(resolvConf(merged, dns), /nameserver 10\.96\.0\.10\noptions ndots:2 edns0\n$/);
  const accounts = accountFiles([
    { name: 'nobody-has-this', uid: 7777 },
    { name: 'root', uid: 1 },
  ]);
  assert.match(accounts?.passwd ?? '', /\nnobody-has-this:x:7777:7777::\/:\/bin\/sh\n$/);
  assert.not.match(accounts?.passwd ?? '', /^root:x:1:/m);
});

test('setHostnameAsFQDN: the kernel has the qualified name, if it is not too long', () => {
  const named = (spec: object) => ({ metadata: { name: 'p', namespace: 'ns' }, spec }) as unknown as Pod;
  assert.is(kernelHostname(named({ setHostnameAsFQDN: true, subdomain: 's' })), 'p.s.ns.svc.cluster.local');
  assert.is(kernelHostname(named({ setHostnameAsFQDN: true })), 'p');
  assert.is(kernelHostname(named({ subdomain: 's' })), 'p');
  const long = named({ setHostnameAsFQDN: true, hostname: 'h'.repeat(40), subdomain: 's' });
  assert.is(kernelHostname(long), `${'h'.repeat(40)}.s.ns.svc.cluster.local`);
  assert.throws(
    () => kernelHostname({ ...long, spec: { ...long.spec, subdomain: 's'.repeat(10) } }),
    '64 is the maximum',
  );
});

test('mounts: a container sees the file systems of the host, without its kernel interfaces', () => {
  const mount = (path: string, fileSystem: string) => ({ path, fileSystem, noexec: false });
  const mounts = [
    mount('/', 'ext4'),
    mount('/proc', 'proc'),
    mount('/run', 'tmpfs'),
    mount('/run/x', 'ext4'),
    mount('/usr', 'xfs'),
  ];
  assert.equal(
    layeredMounts(mounts).map(({ path }) => path),
    ['/', '/usr'],
  );
  assert.is(mountOf('/run/x/y', mounts)?.path, '/run/x');
  assert.is(mountOf('/runner', mounts)?.path, '/');
  assert.ok(hostMounts().some(({ path }) => path === '/proc'));
});

test('processes: names with spaces and parentheses; zombies count as gone; another start time is another process', () => {
  const fields = Array.from({ length: 30 }, (_, i) => `${i + 3}`);
  assert.equal(parseStat(`12 (a) b) S ${fields.slice(1).join(' ')}`), { pid: 12, startTime: '22' });
  assert.is(parseStat(`12 (a) Z ${fields.slice(1).join(' ')}`), undefined);
  const own = findProcess(process.pid);
  assert.ok(isAlive(own));
  assert.not(isAlive({ pid: process.pid, startTime: '1' }));
  assert.ok(lacksHandler(process.pid, 12));
});

test('long file names are shortened with a hash, and shell words are quoted', () => {
  assert.is(netnsNameOf('default', 'mc3'), 'dp-pod-default-mc3');
  assert.is(netnsNameOf('n', 'x'.repeat(300)).length, 255);
  assert.is(quote("it's"), "'it'\\''s'");
  assert.is(fstabField('/a b\\c'), '/a\\040b\\134c');
});

test.run();
