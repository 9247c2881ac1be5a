/**
 * The package as somebody else gets it: packed from a copy of the sources, installed in a directory outside of the
 * repository without development dependencies and without a compiler, and used from there.
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { output, ROOT, run, whyNoCluster } from '../lib/cluster.ts';
import { times } from '../lib/long-form.ts';
import { testUnless } from '../lib/test-unless.ts';

const NPM_TIMEOUT_MS = 100_000;
/** Everything that may be in the package. */
const SHIPPED = [
  /^(package\.json|README\.md|LICENSE|CHANGELOG\.md)$/,
  /^dist\/bundle\/ui\/((page|playground)\.(html|js)|style\.css|icon\.svg)$/,
  /^dist\/bundle\/(pipeline|traced|start\/main|agnhost\/(main|chunks\/[\w-]+))\.js(\.map)?$/,
  /^dist\/bundle\/(cli|worker|standby|launcher|cni)\/((main|program|commands|agent|controller|worker)\.js(\.map)?|package\.json)$/,
  /^dist\/bundle\/(start\/package\.json|build\.json|THIRD-PARTY-LICENSES)$/,
  /^dist\/bundle\/published\/([\w-]+\.json|LICENSE|README\.md)$/,
  /^dist\/native-free-dataplane\/[\w/-]+\.d\.ts$/,
  /^demo\/([\w-]+\.yaml|webapp\/webapp\.mjs)$/,
  /^docs\/[\w-]+\.md$/,
  /^scripts\/deploy\/[\w./-]+$/,
  /^docs\/metrics\/(alerts\.yaml|dashboard\.json)$/,
];
/** What npm prints when it cannot reach a registry, and has not got a package from earlier. */
const UNREACHABLE =
  /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ENOTCACHED|ERR_SOCKET/;
/** Native modules cannot be built with these. */
const NO_COMPILER = { CC: '/bin/false', CXX: '/bin/false', MAKE: '/bin/false', npm_config_python: '/bin/false' };

const test = suite('installed package');
const directory = mkdtempSync(join(tmpdir(), 'dataplane-package-'));
const elsewhere = join(directory, 'elsewhere');
const command = join(elsewhere, 'node_modules/.bin/dataplane');

const npm = (cwd: string, ...args: string[]) =>
  run(['npm', '--prefix', cwd, '--no-audit', '--no-fund', '--no-update-notifier', ...args], {
    timeoutMs: NPM_TIMEOUT_MS,
    env: NO_COMPILER,
  });

/**
 * The sources as a clone has them; the packages that build them are those of this tree. In the short form also what was compiled
 * from them here: the compiler finds all of it up to date, and the bundles are built.
 */
function copySources(target: string): void {
  const left = new Set(['.git', times('dist/bundle', 'dist'), 'node_modules']);
  cpSync(ROOT, target, {
    recursive: true,
    preserveTimestamps: true,
    filter: (path) => !left.has(relative(ROOT, path)),
  });
  symlinkSync(join(ROOT, 'node_modules'), join(target, 'node_modules'));
}

/** Packs the copy. @returns the package, and the paths of the files in it */
async function pack(): Promise<{ file: string; paths: string[] }> {
  const clone = join(directory, 'clone');
  copySources(clone);
  const text = await output(npm(clone, 'pack', clone, '--json', '--pack-destination', directory));
  const [{ filename, files }] = JSON.parse(text.slice(text.indexOf('[\n'))) as [
    { filename: string; files: { path: string }[] },
  ];
  return { file: join(directory, filename), paths: files.map(({ path }) => path) };
}

/** Installs the package. @returns why that is impossible here; undefined when it is done */
async function install(file: string): Promise<string | undefined> {
  mkdirSync(elsewhere);
  writeFileSync(join(elsewhere, 'package.json'), '{ "private": true }\n');
  const { status, stderr } = await npm(elsewhere, 'install', '--omit=dev', '--prefer-offline', file);
  if (status === 0) return undefined;
  if (UNREACHABLE.test(stderr)) return 'no registry of npm packages can be reached';
  throw new Error(stderr);
}

process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
const { file, paths } = await pack();
const whyNotInstalled = await install(file);
const whyNotUp = whyNotInstalled ?? whyNoCluster();
const installed = testUnless(whyNotInstalled, test);
const up = testUnless(whyNotUp, test);

test('the package of a fresh clone is built, and contains only what is needed to run', () => {
  assert.equal(
    paths.filter((path) => !SHIPPED.some((pattern) => pattern.test(path))),
    [],
  );
  for (const path of [
    'LICENSE',
    'dist/bundle/cli/main.js',
    'dist/bundle/cli/agent.js',
    'dist/bundle/worker/main.js',
    'dist/bundle/THIRD-PARTY-LICENSES',
    'dist/bundle/launcher/main.js',
    'dist/bundle/cni/main.js',
    'dist/bundle/agnhost/main.js',
    'dist/bundle/ui/page.js',
    'dist/bundle/ui/playground.js',
    'dist/bundle/pipeline.js',
    'dist/bundle/pipeline.js.map',
    'dist/native-free-dataplane/public.d.ts',
    'demo/mc3.yaml',
    'demo/webapp/webapp.mjs',
    'docs/cli.md',
  ]) {
    assert.ok(paths.includes(path), `${path} is missing`);
  }
});

installed('it installs without a compiler and without development dependencies', async () => {
  for (const name of ['typescript', 'esbuild', 'uvu']) {
    assert.not.ok(existsSync(join(elsewhere, 'node_modules', name)), name);
  }
  assert.not.ok(existsSync(join(elsewhere, 'node_modules/raw-socket/build/Release/raw.node')), 'a compiler was used');
  assert.match(await output(run([command, '--help'])), /^Usage: dataplane /);
  assert.match(await output(run([command, '--version'])), /^dataplane \d+\.\d+\.\d+\n$/);
});

installed('the pipeline can be imported, takes a frame and answers it', async () => {
  const program = join(elsewhere, 'answer.mjs');
  writeFileSync(program, ANSWER_ARP);
  const { verdict, sent } = JSON.parse(await output(run([process.execPath, program]))) as Record<string, string>;
  assert.is(verdict, 'arp-answered');
  assert.is(sent, 'arp 10.244.1.1 is-at 0a:58:0a:f4:01:01');
});

installed('its types are enough for a strict compiler that knows neither Node nor our sources', async () => {
  writeFileSync(
    join(elsewhere, 'typed.mts'),
    `import { attachDataplane, type Emitter, Packet, processFrame, type TableBuffers, verdictName } from 'dataplane/pipeline';
export function name(tables: TableBuffers, emitter: Emitter): string {
  const dataplane = attachDataplane(tables, 0, emitter, { tunnelOffload: false, udpSegmentation: false });
  return verdictName(processFrame(new Packet(new ArrayBuffer(1 << 18)), dataplane, 0));
}
`,
  );
  const tsc = join(ROOT, 'node_modules/.bin/tsc');
  const options = [
    '--ignoreConfig',
    '--strict',
    '--noEmit',
    '--module',
    'nodenext',
    '--target',
    'es2022',
    '--lib',
    'es2022',
  ];
  const { status, stdout } = await run([tsc, ...options, '--types', '', join(elsewhere, 'typed.mts')]);
  assert.is(status, 0, stdout);
});

up('a cluster comes up from there and goes away again', async () => {
  const script = `dataplane() { '${command}' "$@"; }
    cd /
    dataplane up --nodes 1 -f '${join(elsewhere, 'node_modules/dataplane/demo/mc3.yaml')}'
    dataplane get pods
    dataplane down
    dataplane get pods`;
  const privately = join(ROOT, 'test/lib/private-namespaces.sh');
  const { status, stdout, stderr } = await run([privately, 'sh', '-c', script], { timeoutMs: 60_000 });
  assert.match(stdout, /^mc3 +2\/2 +Running /m, stderr);
  assert.match(stderr, /no cluster is up/);
  assert.is.not(status, 0, 'the last command finds no cluster');
});

/** One node with one pod, which asks for the gateway's hardware address. */
const ANSWER_ARP = `
import * as p from 'dataplane/pipeline';
const secret = Int32Array.of(1, 2, 3, 4);
const conntrack = { addressWords: 1, max: 1024, workers: 1, secret };
const node = { maxHops: 16, routeSlots: 64, hostRouteSlots: 16, declaredSlots: 64, secret };
const counters = { workers: 1, ports: 16, secret };
const tables = {
  conntrack: new ArrayBuffer(p.conntrackBytes(conntrack)),
  services: new ArrayBuffer(p.servicesBytes({})),
  routes: new ArrayBuffer(p.nodeTableBytes(node)),
  counters: new ArrayBuffer(p.countersBytes(counters)),
  fragments: new ArrayBuffer(p.fragmentsBytes()),
  policies: new ArrayBuffer(p.policyBytes({ halfWords: 1024, maxRules: 16 })),
};
p.createConntrack(tables.conntrack, conntrack);
p.createServices(tables.services, { secret });
const table = p.createNodeTable(tables.routes, node);
p.createCounters(tables.counters, counters);
p.createFragments(tables.fragments, { secret });
p.createPolicies(tables.policies, { halfWords: 1024, maxRules: 16, secret });
p.setConfigAddress(table, p.NodeWord.GATEWAY_IP, p.addressWords('10.244.1.1'));
table.config[p.NodeWord.GATEWAY_MAC_HIGH] = 0x0a58;
table.config[p.NodeWord.GATEWAY_MAC_LOW] = 0x0af40101;
p.setHop(table, 1, { kind: p.HopKind.POD, address: p.addressWords('10.244.1.2'), macHigh: 0x0a58, macLow: 0x0af40102, mtu: 1450 });
let sent;
const emit = (pkt) => { sent = p.printBytes(pkt.bytes.slice(pkt.start, pkt.end)); };
const dataplane = p.attachDataplane(tables, 0, { emit }, { tunnelOffload: false, udpSegmentation: false });
const pkt = new p.Packet(new ArrayBuffer(p.ARENA_BYTES));
const hex = 'ffffffffffff0a580af401020806' + '00010800060400010a580af401020af40102' + '0000000000000af40101';
pkt.bytes.set(Uint8Array.from(hex.match(/../g), (byte) => Number.parseInt(byte, 16)), p.FRAME_AT);
pkt.reset(p.FRAME_AT, p.FRAME_AT + hex.length / 2, 1);
const verdict = p.verdictName(p.processFrame(pkt, dataplane, 1000));
console.log(JSON.stringify({ verdict, sent }));
`;

test.run();
