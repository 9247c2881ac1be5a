/**
 * docs/architecture.md as tests: which folder may import which, what may be where, how long a file may be. A new arrow is
 * a decision: change it here and there. What the packet path must not do is in architecture-packet-path.test.ts.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ROOT } from '../lib/cluster.ts';
import { importsOf, PIPELINE, type Source, sourcesUnder } from '../lib/sources.ts';

const sources = sourcesUnder(PIPELINE, 'src', 'test', 'bench', 'demo');
const product = sources.filter(({ path }) => path.startsWith(PIPELINE) || path.startsWith('src/'));

/** The part a path belongs to: a folder of the pipeline or of src, or a file at the pipeline's top. */
function partOf(path: string): string {
  const [top, second, third] = path.split('/');
  if (top === 'src') return `src/${second}`;
  if (top !== PIPELINE) return path;
  return third === undefined ? `${second}` : `${second}/`;
}

/** The tables of the pipeline, by subject. A table knows no wire format, and no stage. */
const TABLES = ['shared/', 'conntrack/', 'drops/', 'fragments/', 'node/', 'policies/', 'services/'];

/** Every part, and the parts it may import besides itself. */
const ARROWS: Record<string, string[]> = {
  'verdicts.ts': ['wire/'],
  'packet.ts': [],
  'capture/': [],
  'protocols.ts': [],
  'wire/': ['protocols.ts'],
  'shared/': ['verdicts.ts'],
  'conntrack/': ['shared/', 'protocols.ts'],
  'drops/': ['shared/'],
  'fragments/': ['shared/', 'verdicts.ts'],
  'node/': ['shared/'],
  'policies/': ['shared/'],
  'services/': ['shared/', 'protocols.ts'],
  'dataplane.ts': ['packet.ts', ...TABLES],
  'overlay/': ['packet.ts', 'verdicts.ts', 'protocols.ts', 'dataplane.ts', 'wire/', ...TABLES],
  'stages/': ['packet.ts', 'verdicts.ts', 'protocols.ts', 'dataplane.ts', 'overlay/', 'wire/', ...TABLES],
  'train.ts': ['packet.ts', 'verdicts.ts', 'protocols.ts', 'dataplane.ts', 'overlay/', 'stages/', 'wire/', ...TABLES],
  'transmit.ts': ['packet.ts', 'verdicts.ts', 'dataplane.ts', 'train.ts', 'overlay/', 'stages/', 'wire/', ...TABLES],
  'settle.ts': ['packet.ts', 'verdicts.ts', 'protocols.ts', 'dataplane.ts', 'transmit.ts', 'stages/', ...TABLES],
  'pipeline.ts': [
    'packet.ts',
    'verdicts.ts',
    'protocols.ts',
    'dataplane.ts',
    'settle.ts',
    'train.ts',
    'transmit.ts',
    'overlay/',
    'wire/',
    'stages/',
    ...TABLES,
  ],
  'trace/': ['packet.ts', 'verdicts.ts', 'dataplane.ts', 'pipeline.ts'],
  'filter/': ['protocols.ts', 'wire/'],
  'live-capture/': ['filter/', 'shared/'],
  'print/': ['verdicts.ts', 'protocols.ts', 'wire/', ...TABLES],
  'public.ts': [PIPELINE],
  'src/linux': [],
  'src/shm-names.ts': [],
  'src/agnhost': [],
  'src/cni': [],
  'src/start': [],
  'src/net': ['wire/'],
  'src/api': ['src/net'],
  'src/dns': ['src/api', 'src/net'],
  'src/devices': ['src/linux', PIPELINE],
  'src/worker': ['src/devices', 'src/linux', PIPELINE],
  'src/standby': ['src/worker', 'src/linux', PIPELINE],
  'src/compile': ['src/api', 'src/net', 'protocols.ts', 'wire/', 'policies/', 'services/'],
  'src/controllers': ['src/api', 'src/linux', 'src/net', 'src/observe', 'wire/', ...TABLES],
  'src/runtime': ['src/api', 'src/linux'],
  'src/cluster': ['src/api', 'src/controllers', 'src/linux', 'src/net', 'src/runtime', 'src/standby'],
  'src/agent': [
    'src/cni',
    'src/worker',
    'src/standby',
    'src/net',
    'src/dns',
    'src/compile',
    'src/devices',
    'src/linux',
    'src/runtime',
    'src/observe',
    'src/api',
    PIPELINE,
  ],
  'src/observe': ['src/api', 'src/compile', 'src/linux', 'src/net', PIPELINE],
  // The page's server and what it shows; the playground's cluster. Parts of it run in browsers.
  'src/ui': ['src/api', 'src/compile', 'src/net', 'src/observe', PIPELINE],
  // In browsers only.
  'src/web': ['src/ui', 'trace/'],
  'src/cli': [
    'src/cni',
    'src/agent',
    'src/api',
    'src/cluster',
    'src/compile',
    'src/controllers',
    'src/devices',
    'src/dns',
    'src/linux',
    'src/net',
    'src/observe',
    'src/runtime',
    'src/start',
    'src/ui',
    'src/worker',
    PIPELINE,
  ],
};

/** What every part of src may import: it imports nothing itself. */
const EVERYWHERE = ['src/shm-names.ts'];

/** Single files that may do more than their part. */
const MORE: Record<string, string[]> = {
  // The overlays as data: one table for packets and people.
  'src/api/cluster-options.ts': ['overlay/'],
  'src/api/flannel-backend.ts': ['overlay/'],
  // A segment's kind follows from its flags; the rest of the tracker knows kinds only.
  [`${PIPELINE}/conntrack/tcp/segment.ts`]: ['wire/'],
  // The steps of a frame are recorded where it is processed; their text is the same as that of other traces.
  'src/worker/live-trace.ts': ['src/observe'],
  'src/worker/worker-state.ts': ['src/observe'],
  // The endpoints of a Service as the controller makes them; a node's tables as its agent writes them.
  'src/ui/service-slices.ts': ['src/controllers'],
  'src/ui/playground/node.ts': ['src/agent'],
  'src/ui/playground/cluster.ts': ['src/agent'],
  // The virtio-net header is read into the descriptor: it is no part of the frame.
  [`${PIPELINE}/wire/vnet-header.ts`]: ['packet.ts'],
  // Addresses of four words, as tables hold them too.
  [`${PIPELINE}/wire/ip.ts`]: ['shared/'],
};

/** Packages that are not Node's, and the only part that may know each. */
const PACKAGES: Record<string, string[]> = {
  koffi: ['src/linux'],
  'raw-socket': ['src/linux'],
  piscina: ['src/agent'],
  'prom-client': ['src/observe'],
  ajv: ['src/api'],
  'dns-packet': ['src/dns', 'src/observe'],
  '@grpc': ['src/observe'],
  protobufjs: ['src/api', 'src/observe'],
  '@peculiar': ['src/controllers'],
  'reflect-metadata': ['src/controllers'],
  croner: ['src/controllers'],
  jose: ['src/controllers'],
  'tar-stream': ['src/runtime'],
  ws: ['src/agent', 'src/api'],
  yaml: ['src/api', 'src/cli', 'src/cluster', 'src/runtime', 'src/ui'],
  preact: ['src/web'],
  '@preact': ['src/web'],
};

test('imports are found however they are written', () => {
  const code =
    "import a from './a.ts';\nexport * from '../b.ts';\nimport {\n  c,\n} from 'koffi';\nimport './d.ts';\nimport('./e.ts')";
  assert.equal(importsOf('src/x/y.ts', code), ['src/x/a.ts', 'src/b.ts', 'koffi', 'src/x/d.ts', 'src/x/e.ts']);
});

test('every import follows an arrow of the architecture', () => {
  const wrong: string[] = [];
  for (const { path, imports } of product) {
    const part = partOf(path);
    const allowed = ARROWS[part];
    if (allowed === undefined) {
      wrong.push(`${path}: ${part} is not in the list of parts`);
      continue;
    }
    for (const target of imports) {
      if (target.startsWith('node:')) {
        if (path.startsWith(PIPELINE)) wrong.push(`${path}: the pipeline knows nothing of Node (${target})`);
      } else if (/^(src|native-free-dataplane|test|bench)\//.test(target)) {
        const to = partOf(target);
        const whole = target.startsWith(PIPELINE) && allowed.includes(PIPELINE);
        const shared = path.startsWith('src/') && EVERYWHERE.includes(to);
        const fine = whole || shared || to === part || allowed.includes(to) || MORE[path]?.includes(to);
        if (!fine) wrong.push(`${path} may not import ${target}`);
      } else {
        const name = target.split('/')[0] ?? '';
        if (!PACKAGES[name]?.includes(part)) wrong.push(`${path} may not use the package ${target}`);
      }
    }
  }
  assert.equal(wrong, []);
});

/** Files that import each other in a circle, as one path each; types count. */
export function circlesOf(importsByFile: ReadonlyMap<string, readonly string[]>): string[] {
  const circles = new Set<string>();
  const finished = new Set<string>();
  const visit = (file: string, path: readonly string[]): void => {
    const at = path.indexOf(file);
    if (at >= 0) circles.add([...path.slice(at), file].join(' > '));
    if (at >= 0 || finished.has(file)) return;
    for (const target of importsByFile.get(file) ?? []) visit(target, [...path, file]);
    finished.add(file);
  };
  for (const file of importsByFile.keys()) visit(file, []);
  return [...circles];
}

test('no files import each other in a circle', () => {
  const small = { a: ['b'], b: ['c'], c: ['a', 'd'], d: [] };
  assert.equal(circlesOf(new Map(Object.entries(small))), ['a > b > c > a']);
  assert.equal(circlesOf(new Map(product.map(({ path, imports }) => [path, imports]))), []);
});

/** Files that name an overlay in code, besides the folder of overlays. A new overlay adds none. */
const NAMES_AN_OVERLAY: Record<string, string> = {
  [`${PIPELINE}/filter/parse.ts`]: "tcpdump's primitive vxlan",
  [`${PIPELINE}/protocols.ts`]: 'the name of IP protocol 4',
  [`${PIPELINE}/wire/layout.ts`]: 'the name of the VXLAN header',
  'src/api/cluster-options.ts': 'the default',
};

test('an added overlay touches one folder: nothing outside it depends on which overlay is in use', () => {
  const names = /'(vxlan|ipip|host-gw)'|\bOverlayMode\b/;
  const naming = product.filter(({ path, code }) => !path.startsWith(`${PIPELINE}/overlay/`) && names.test(code));
  assert.equal(
    naming.map(({ path }) => path),
    Object.keys(NAMES_AN_OVERLAY),
  );
});

test('a stage imports no stage', () => {
  const stages = sources.filter(({ path }) => path.startsWith(`${PIPELINE}/stages/`));
  assert.ok(stages.length > 10);
  const wrong = stages.flatMap(({ path, imports }) =>
    imports.filter((target) => target.startsWith(`${PIPELINE}/stages/`)).map((target) => `${path} imports ${target}`),
  );
  assert.equal(wrong, []);
});

/**
 * Keep what was computed for the call before, so that a change costs what it affects. That the result depends on the
 * input alone is tested in unit/compile/policies.
 */
const KEEP_RESULTS = 'src/compile/policies/';

test('compile is pure: objects in, table contents out; no state, no clock, no table', () => {
  const files = product.filter(({ path }) => path.startsWith('src/compile/'));
  assert.ok(files.length > 0);
  const impure = /^(?:export )?let\b|\bDate\b|\bperformance\b|Math\.random|\bAtomics\b/m;
  const wrong = files.filter(
    ({ path, code, imports }) =>
      impure.test(code) ||
      (!path.startsWith(KEEP_RESULTS) && /^(?:export )?class\b/m.test(code)) ||
      imports.some((target) => target.startsWith('node:') || /\/(writer|chains)\.ts$/.test(target)),
  );
  assert.equal(
    wrong.map(({ path }) => path),
    [],
  );
});

/** Where a field lies and which number means what is known in wire/ and protocols.ts, and by formats that are no frames. */
const KNOWS_OFFSETS = [
  `${PIPELINE}/wire/`,
  `${PIPELINE}/protocols.ts`,
  // Files: pcap and pcapng.
  `${PIPELINE}/capture/`,
  // Filters compile to offsets.
  `${PIPELINE}/filter/`,
  // SPDY and WebSocket, over TCP connections of the node's kernel.
  'src/agent/streams/',
];
const READS_FRAMES = [`${PIPELINE}/`, 'src/worker/', 'src/devices/', 'src/agent/'];

/** What belongs into wire/ (numbers of protocols: protocols.ts), by what it looks like elsewhere. */
const WIRE_KNOWLEDGE: [string, RegExp][] = [
  ['access to a DataView', /\.[gs]et(Ui|I)nt(8|16|32)\(/],
  ['access to numbers in a Buffer', /\.(read|write)U?Int\d*(BE|LE)?\(/],
  [
    'a number added to a place in a frame',
    /(\b(l3|l4|\w*[iI]nner|\w*[oO]uter|\w*[qQ]uoted|headersEnd)|\.start)\s*[+-]\s*\d/,
  ],
  ['a byte by its number', /\bbytes\[[^\]]*[+-]\s*\d/],
  ['an EtherType', /\b0x(0800|0806|86dd|8100|88a8)\b/i],
  ['a protocol number', /\bprotocol\w*\)?\s*[=!]==?\s*\d|\bPROTOCOL_\w+(: number)? = \d|\b(TCP|UDP|tcp|udp): (6|17)\b/],
  ['an ICMP type or code', /\b(icmpType|icmpCode|icmpType\(.*\))\s*[=!]==?\s*\d/],
  ['a TCP flag', /\b(tcpFlags|flags)\s*&\s*(0x)?[0-9a-f]+\)/],
];

/** Stages handle addresses of either family whole, as four words (shared/address.ts). */
const FAMILY_FREE = ['stages/', 'overlay/', 'pipeline.ts', 'transmit.ts'].map((part) => `${PIPELINE}/${part}`);
const ONE_WORD: [string, RegExp][] = [
  ['one word of an address', /\b(src|dst|newSrc|newDst|address|target|peerAddress)\[\d\]|(_IP|_CIDR|ADDRESS) \+ \d/],
];

function findIn(files: Source[], patterns: [string, RegExp][]): string[] {
  return files.flatMap(({ path, code }) =>
    code
      .split('\n')
      .flatMap((text, i) =>
        patterns.flatMap(([what, pattern]) =>
          pattern.test(text) ? [`${path}:${i + 1}: ${what}: ${text.trim()}`] : [],
        ),
      ),
  );
}

const under = (folders: string[], { path }: Source): boolean => folders.some((folder) => path.startsWith(folder));

test('outside wire/ no code has field offsets, or numbers of protocols, types or flags', () => {
  const files = product.filter((source) => under(READS_FRAMES, source) && !under(KNOWS_OFFSETS, source));
  assert.ok(files.length > 100, `${files.length} files`);
  assert.equal(findIn(files, WIRE_KNOWLEDGE), []);
});

test('stages, overlays and pipeline handle whole addresses', () => {
  const files = product.filter((source) => under(FAMILY_FREE, source));
  assert.ok(files.length > 25, `${files.length} files`);
  assert.equal(findIn(files, ONE_WORD), []);
});

test('the check recognizes offsets and protocol numbers', () => {
  const lines = [
    'const type = view.getUint16(at);',
    'packet.readInt32BE(16);',
    'const at = pkt.l3 - 14;',
    'if (bytes[at + 9] === x) return;',
    'if (type === 0x0800) return;',
    'if (pkt.protocol !== 17) return;',
    'if (pkt.icmpType === 3) return;',
    'if ((pkt.tcpFlags & 2) !== 0) return;',
  ];
  const source = { path: 'x', text: '', code: lines.join('\n'), imports: [] };
  assert.equal(
    findIn([source], WIRE_KNOWLEDGE).map((found) => found.split(': ')[1]),
    WIRE_KNOWLEDGE.map(([what]) => what),
  );
  const words = { ...source, code: 'pkt.src[3]\nconfig[NodeWord.NODE_IP + 3]' };
  assert.is(findIn([words], ONE_WORD).length, 2);
});

/** Packages that take long to load, and are needed rarely. */
const LOADED_WHEN_NEEDED = /^import (?!type\b)[^;]*'(@peculiar\/x509|reflect-metadata)';/m;

/** Node's own globals. */
const OF_NODE = /\b(Buffer|process)\.|\b(Buffer|require|setImmediate)\(|\b__dirname\b/;

test('what runs in browsers uses nothing of Node', () => {
  const byPath = new Map(product.map((source) => [source.path, source]));
  const reached = new Set<string>();
  const visit = (path: string): void => {
    if (reached.has(path)) return;
    reached.add(path);
    for (const target of valueImportsOf(byPath.get(path)!)) if (byPath.has(target)) visit(target);
  };
  for (const page of ['src/web/page.tsx', 'src/web/playground.tsx']) visit(page);
  assert.ok(reached.has('src/ui/playground/cluster.ts') && reached.has(`${PIPELINE}/pipeline.ts`));
  const wrong = [...reached].flatMap((path) => {
    const source = byPath.get(path)!;
    const modules = valueImportsOf(source).filter((target) => target.startsWith('node:'));
    return [...modules, ...(OF_NODE.exec(source.code) ?? []).slice(0, 1)].map((what) => `${path}: ${what}`);
  });
  assert.equal(wrong, []);
  const types = "import type { A } from './a.ts';\nimport { type B } from './b.ts';\nimport { c } from './c.ts';";
  assert.equal(valueImportsOf({ path: 'src/x.ts', text: '', code: types, imports: [] }), ['src/c.ts']);
});

/** What a source imports besides types, which are gone when it runs. */
function valueImportsOf({ path, code }: Source): string[] {
  const left = code
    .replace(/^(import|export) type [^;]*;/gm, '')
    .replace(/^(import|export) \{(\s*type \w+( as \w+)?,?)+\s*\} from [^;]*;/gm, '');
  return importsOf(path, left);
}

test('packages that are needed rarely are loaded when they are needed', () => {
  assert.equal(
    product.filter(({ code }) => LOADED_WHEN_NEEDED.test(code)).map(({ path }) => path),
    [],
  );
  assert.ok(LOADED_WHEN_NEEDED.test("import * as x509 from '@peculiar/x509';"));
  assert.ok(LOADED_WHEN_NEEDED.test("import 'reflect-metadata';"));
});

test('every imported package is declared', () => {
  const missing = product.flatMap(({ path, imports }) =>
    imports
      .filter((target) => target.endsWith('.ts') && target.includes('/') && !existsSync(join(ROOT, target)))
      .map((target) => `${path} imports ${target}`),
  );
  assert.equal(missing, []);
});

const MAX_LINES = 400;
/** Longer for a reason. */
const LONG: Record<string, string> = {
  [`${PIPELINE}/verdicts.ts`]: 'one row per verdict, and nothing else to say about it anywhere',
};

test(`no source is longer than ${MAX_LINES} lines without a reason`, () => {
  const lines = (path: string, text: string) => `${path}: ${text.split('\n').length - 1}`;
  const long = product.filter(({ text }) => text.split('\n').length - 1 > MAX_LINES);
  assert.equal(
    long.filter(({ path }) => LONG[path] === undefined).map(({ path, text }) => lines(path, text)),
    [],
  );
  const needless = Object.keys(LONG).filter((path) => !long.some((source) => source.path === path));
  assert.equal(needless, [], 'short enough now: take them off the list');
});

test('no source contains a marker of unfinished work', () => {
  const marks = ['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX', 'HA' + 'CK'];
  const pattern = new RegExp(`\\b(${marks.join('|')})\\b`);
  assert.equal(
    sources.filter(({ text }) => pattern.test(text)).map(({ path }) => path),
    [],
  );
});

test('names are in kebab-case', () => {
  const odd = sources
    .map(({ path }) => path)
    .filter((path) => !/^[a-z0-9-]+(\.test)?\.tsx?$/.test(path.split('/').at(-1) ?? ''));
  assert.equal(odd, []);
});

test.run();
