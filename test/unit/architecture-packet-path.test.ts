/** What must not happen on a packet's path: constructs that cost too much per packet, in functions that a packet can reach. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PIPELINE, type Source, sourcesUnder } from '../lib/sources.ts';

interface Fn {
  path: string;
  line: number;
  body: string;
}

const FUNCTION = /^(?:export )?(?:default )?function (\w+)[\s\S]*?^}/gm;
const METHOD = /^ {2}(?:private )?(?:get |set )?(\w+)\(.*\)(?:: [^{\n]*)? \{\n[\s\S]*?^ {2}}/gm;

/** Functions at a file's top level and methods of its classes, by path and name. */
function functionsOf(files: Source[]): Map<string, Fn[]> {
  const functions = new Map<string, Fn[]>();
  for (const { path, code } of files) {
    for (const found of [...code.matchAll(FUNCTION), ...code.matchAll(METHOD)]) {
      const [body, name] = found;
      if (name === 'constructor') continue;
      const key = `${path} ${name}`;
      const line = code.slice(0, found.index).split('\n').length;
      functions.set(key, [...(functions.get(key) ?? []), { path, line, body }]);
    }
  }
  return functions;
}

/** Every function that a packet may meet: what processFrame and tick name, and what that names, and so on. */
function pathOfAPacket(): Fn[] {
  const files = sourcesUnder(PIPELINE);
  const functions = functionsOf(files);
  const importsOfFile = new Map(files.map(({ path, imports }) => [path, imports]));
  const begin = [
    'pipeline.ts processFrame',
    'pipeline.ts tick',
    'wire/vnet-header.ts readVnetHeader',
    'wire/vnet-header.ts writeVnetHeader',
    'transmit.ts sendOne',
  ];
  const seen = new Set(begin.map((name) => `${PIPELINE}/${name}`));
  for (const key of seen) {
    for (const { path, body } of functions.get(key) ?? []) {
      for (const [word] of body.matchAll(/\b[A-Za-z]\w*\b/g)) {
        for (const file of [path, ...(importsOfFile.get(path) ?? [])]) {
          if (functions.has(`${file} ${word}`)) seen.add(`${file} ${word}`);
        }
      }
    }
  }
  return [...seen].flatMap((key) => functions.get(key) ?? []);
}

const hot = pathOfAPacket();

/** What costs too much per packet, by what it looks like. */
const DEAR: [string, RegExp][] = [
  ['BigInt', /\bBigInt|\bBig(Int|Uint)64|\b\d+n\b/],
  ['exceptions', /\b(try|throw|catch|finally)\b/],
  ['closures', /=>|\bfunction\b.*\bfunction\b/],
  ['reads of Buffer', /\bBuffer\b|\.(read|write)(U?Int|Float|Double)\d*/],
  ['iterators', /\bfor \((const|let) [^;]* (of|in)\b|\.(forEach|map|filter|reduce|some|every|entries|keys|values)\(/],
  ['text', /`|\.toString\(|\bString\(|JSON\./],
  // A view is worth its price for a copy in bulk (a fragment that is kept).
  ['new objects', /\bnew [A-Z]|\.\.\.|(?<!\.set\(\w+)\.(subarray|slice|concat)\(|[=(,] \[|return \{|= \{/],
  ['clock or chance of its own', /\bDate\b|\bperformance\b|Math\.random/],
];

test("the functions on a packet's path are found", () => {
  for (const name of ['parseIpv4', 'guard', 'insertRecord', 'tcpPacket', 'cutSegments', 'pickEndpoint', 'evict']) {
    assert.ok(
      hot.some(({ body }) => body.includes(`function ${name}(`)),
      name,
    );
  }
  for (const method of ['get maxEnd()', 'countAck(fingerprint'])
    assert.ok(hot.some(({ body }) => body.includes(method)));
  assert.ok(hot.length > 150, `${hot.length} functions`);
});

for (const [what, pattern] of DEAR) {
  test(`on a packet's path: no ${what}`, () => {
    const found = hot.flatMap(({ path, line, body }) =>
      body.split('\n').flatMap((text, i) => (pattern.test(text) ? [`${path}:${line + i}: ${text.trim()}`] : [])),
    );
    assert.equal(found, []);
  });
}

test.run();
