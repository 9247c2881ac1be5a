/**
 * Names in a pod through the resolvers that programs bring along: glibc's, musl's, those of Go, Python and Node, and dig. Each finds
 * a Service by its short name, gets no address for a name that does not exist, and neither takes long.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { missingProgram } from '../lib/applications.ts';
import { type Cluster, dataplane, eventually, processPod, startCluster } from '../lib/cluster.ts';
import { testUnless } from '../lib/test-unless.ts';

/** Exits with 0 and prints the first address, or with 1. */
const MUSL = `
#include <stdio.h>
#include <netdb.h>
#include <arpa/inet.h>
int main(int argc, char **argv) {
  struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found;
  char text[64];
  if (getaddrinfo(argv[1], 0, &hints, &found) != 0) return 1;
  inet_ntop(AF_INET, &((struct sockaddr_in *)found->ai_addr)->sin_addr, text, sizeof text);
  puts(text);
  return 0;
}
`;
const GO = `package main

import ("fmt"; "net"; "os")

func main() {
	found, err := net.LookupHost(os.Args[1])
	if err != nil { os.Exit(1) }
	fmt.Println(found[0])
}
`;
const PYTHON = 'import socket, sys; print(socket.getaddrinfo(sys.argv[1], 80, type=socket.SOCK_STREAM)[0][4][0])';
const NODE =
  "require('dns').lookup(process.argv[1], (error, address) => { if (error) process.exit(1); console.log(address); })";

const directory = mkdtempSync(join(tmpdir(), 'resolvers-'));
const file = (name: string, text: string) => {
  writeFileSync(join(directory, name), text);
  return join(directory, name);
};
const built = (words: string[], env: NodeJS.ProcessEnv = {}): string | undefined => {
  const { status, stderr, error } = spawnSync(words[0]!, words.slice(1), { env: { ...process.env, ...env } });
  return status === 0 ? undefined : (error?.message ?? String(stderr).split('\n')[0]);
};

interface Resolver {
  readonly name: string;
  /** The command that looks its last argument up. */
  readonly command: string[];
  readonly why: string | undefined;
}

// With the user's cache of compiled packages: without one, Go compiles its own for a quarter of a minute.
const goEnv = { CGO_ENABLED: '0', GO111MODULE: 'off', GOFLAGS: '' };
const resolvers: Resolver[] = [
  { name: 'glibc', command: ['getent', 'ahostsv4'], why: undefined },
  {
    name: 'musl',
    command: [join(directory, 'musl')],
    why:
      missingProgram(['musl-gcc']) ??
      built(['musl-gcc', '-static', '-o', join(directory, 'musl'), file('musl.c', MUSL)]),
  },
  {
    name: 'Go',
    command: [join(directory, 'go')],
    why: missingProgram(['go']) ?? built(['go', 'build', '-o', join(directory, 'go'), file('main.go', GO)], goEnv),
  },
  { name: 'Python', command: ['python3', '-c', PYTHON], why: missingProgram(['python3']) },
  { name: 'Node', command: [process.execPath, '-e', NODE], why: undefined },
];

const test = suite('resolvers');
let cluster: Cluster;
let address: string;

test.before(async () => {
  const spec = { selector: { app: 'nobody' }, ports: [{ name: 'http', port: 80 }] };
  cluster = await startCluster({
    manifests: [
      { apiVersion: 'v1', kind: 'Service', metadata: { name: 'web' }, spec },
      processPod('client', 'n2', ['sleep', '1000']),
    ],
  });
  address = (await cluster.get<{ spec: { clusterIP: string } }>('service', 'web')).spec.clusterIP;
  await eventually(async () => ((await inPod('getent', 'hosts', 'web')).status === 0 ? true : undefined));
});
test.after(async () => {
  rmSync(directory, { recursive: true, force: true });
  await cluster?.down();
});

const inPod = (...command: string[]) => dataplane(['exec', 'client', '--', ...command]);

for (const { name, command, why } of resolvers) {
  testUnless(why === undefined ? undefined : `${name}: ${why}`, test)(
    `${name} finds a Service, and at once that a name does not exist`,
    async () => {
      for (const known of ['web', 'web.default.svc', 'web.default.svc.cluster.local']) {
        const { status, stdout, stderr } = await inPod(...command, known);
        assert.is(status, 0, `${known}: ${stderr}`);
        assert.is(stdout.split(/\s/)[0], address, known);
      }
      const startedMs = Date.now();
      assert.is.not((await inPod(...command, 'nobody.example.com')).status, 0);
      // A resolver that waits for a response does so for five seconds (resolv.conf(5), timeout).
      assert.ok(Date.now() - startedMs < 4000, `${Date.now() - startedMs} ms`);
    },
  );
}

testUnless(missingProgram(['dig']), test)('dig: status, flags and sections of each kind of response', async () => {
  const ask = async (...words: string[]) => (await inPod('dig', '+tries=1', '+time=3', ...words)).stdout;
  const found = await ask('web.default.svc.cluster.local');
  assert.match(found, /status: NOERROR[\s\S]*flags: qr aa rd ra[\s\S]*ANSWER: 1/);
  assert.match(
    found,
    new RegExp(`web\\.default\\.svc\\.cluster\\.local\\. 5 IN\\s+A\\s+${address.replaceAll('.', '\\.')}`),
  );
  assert.is(await ask('+short', '+search', 'web'), `${address}\n`);
  assert.is(await ask('+short', '+tcp', 'web.default.svc.cluster.local'), `${address}\n`);
  assert.match(await ask('AAAA', 'web.default.svc.cluster.local'), /status: NOERROR[\s\S]*ANSWER: 0[\s\S]*SOA/);
  assert.match(await ask('nobody.default.svc.cluster.local'), /status: NXDOMAIN[\s\S]*SOA/);
  assert.is(
    await ask('+short', 'SRV', '_http._tcp.web.default.svc.cluster.local'),
    '0 100 80 web.default.svc.cluster.local.\n',
  );
  assert.is(await ask('+short', '-x', address), 'web.default.svc.cluster.local.\n');
  assert.is(await ask('+short', 'TXT', 'dns-version.cluster.local'), '"1.1.0"\n');
});

test('a name that does not exist is answered in less than 5 ms', async () => {
  const script = `const { Resolver } = require('dns').promises;
const resolver = new Resolver({ tries: 1 });
(async () => {
  const times = [];
  for (let i = 0; i < 200; i++) {
    const started = performance.now();
    await resolver.resolve4('nobody' + i + '.default.svc.cluster.local').catch(() => {});
    times.push(performance.now() - started);
  }
  console.log(times.sort((a, b) => a - b)[20]);
})();`;
  // The tenth percentile: on a busy machine others wait for a core.
  const milliseconds = Number((await inPod(process.execPath, '-e', script)).stdout);
  assert.ok(milliseconds > 0 && milliseconds < 5, `${milliseconds} ms`);
});

test.run();
