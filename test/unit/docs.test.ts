/** Checks that what the documents name exists: files, links, commands and their options. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ROOT } from '../lib/cluster.ts';

const folders = ['', 'bench/', 'docs/', 'docs/adr/'];
const documents = folders
  .flatMap((folder) => readdirSync(join(ROOT, folder)).map((name) => `${folder}${name}`))
  .filter((path) => path.endsWith('.md') && existsSync(join(ROOT, path)))
  .map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }));
const commands = new Map(
  readdirSync(join(ROOT, 'src/cli/commands')).map((file) => [
    file.replace('.ts', ''),
    readFileSync(join(ROOT, 'src/cli/commands', file), 'utf8'),
  ]),
);
const clusterArgs = readFileSync(join(ROOT, 'src/cli/args/cluster-args.ts'), 'utf8');
const waitArgs = readFileSync(join(ROOT, 'src/cli/args/wait-args.ts'), 'utf8');

test('links in documents resolve', () => {
  const broken = documents.flatMap(({ path, text }) =>
    [...text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)]
      .map(([, target = '']) => target)
      .filter((target) => !/^[a-z]+:/.test(target) && !existsSync(join(ROOT, dirname(path), target)))
      .map((target) => `${path}: ${target}`),
  );
  assert.equal(broken, []);
});

test('files named in documents exist', () => {
  const places = ['', 'native-free-dataplane/', 'src/', 'docs/'];
  const missing = documents.flatMap(({ path, text }) =>
    [...text.matchAll(/`([a-z][a-z0-9/.-]*\/[a-z0-9/.-]*\.(?:ts|sh|yaml|json|md))`/g)]
      .map(([, name = '']) => name)
      .filter((name) => !places.some((place) => existsSync(join(ROOT, place, name))))
      .map((name) => `${path}: ${name}`),
  );
  assert.equal(missing, []);
});

test('commands named in documents exist, and every command is documented', () => {
  const unknown = documents.flatMap(({ path, text }) =>
    [...text.matchAll(/(?:`|^|sudo |\| )dataplane ([a-z]+(?:-[a-z]+)*)/gm)]
      .map(([, word = '']) => word)
      .filter((word) => !commands.has(word))
      .map((word) => `${path}: dataplane ${word}`),
  );
  assert.equal(unknown, []);
  const reference = documents.find(({ path }) => path === 'docs/cli.md')?.text ?? '';
  const silent = [...commands.keys()].filter((name) => !new RegExp(`dataplane ${name}\\b`).test(reference));
  assert.equal(silent, []);
});

test('the options that action.yml passes are options of `up`', () => {
  const action = readFileSync(join(ROOT, 'action.yml'), 'utf8');
  const passed = [...action.matchAll(/[( ]--([a-z-]+) "\$/g)].map(([, name = '']) => name);
  assert.equal(passed, ['nodes', 'timeout', 'publish']);
  const source = `${commands.get('up')}\n${clusterArgs}`;
  for (const name of [...passed, 'keep-on-failure']) assert.match(source, new RegExp(`^ {4}'?${name}'?: \\{`, 'm'));
});

test('the reference of `up` lists exactly its options', () => {
  const reference = documents.find(({ path }) => path === 'docs/cli.md')?.text ?? '';
  const section = /### `dataplane up[\s\S]*?\n### /.exec(reference)?.[0] ?? '';
  const documented = [...section.matchAll(/^\| `(?:-\w, )?--([a-z-]+)/gm)].map(([, name = '']) => name).sort();
  const source = `${commands.get('up')}\n${clusterArgs}\n${waitArgs}`;
  const had = [...source.matchAll(/^ {2,4}'?([a-z][a-z-]*)'?: \{\s*(?:short: |value: |multiple: |help: )/gm)];
  const names = [...new Set(had.map(([, name = '']) => name))].filter((name) => name !== 'help').sort();
  assert.ok(documented.length > 10);
  assert.equal(documented, names);
});

test('the lines of a diff in a document are in the files that it names', () => {
  const wrong: string[] = [];
  for (const { path, text } of documents) {
    for (const [, diff = ''] of text.matchAll(/^```diff\n([\s\S]*?)^```$/gm)) {
      let source: string[] = [];
      for (const line of diff.trimEnd().split('\n')) {
        if (line.startsWith('--- ')) source = readFileSync(join(ROOT, line.slice(4)), 'utf8').split('\n');
        else {
          const at = source.indexOf(line.slice(1));
          if (at < 0) wrong.push(`${path}: ${line}`);
          // Consecutive lines of the diff are consecutive in the file.
          source = source.slice(at + 1);
        }
      }
    }
  }
  assert.equal(wrong, []);
});

test('docs/extending.md: the diff of an overlay touches one folder', () => {
  const page = documents.find(({ path }) => path === 'docs/extending.md')?.text ?? '';
  const section = /^## An overlay$([\s\S]*?)^## /m.exec(page)?.[1] ?? '';
  const folders = [...section.matchAll(/^--- (.*)\/[^/]+$/gm)].map(([, folder]) => folder);
  assert.equal([...new Set(folders)], ['native-free-dataplane/overlay']);
});

test('scripts named in documents are in package.json', () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  const missing = documents.flatMap(({ path, text }) =>
    [...text.matchAll(/npm run (?:--silent )?([a-z:-]+)/g)]
      .map(([, name = '']) => name)
      .filter((name) => !(name in scripts))
      .map((name) => `${path}: npm run ${name}`),
  );
  assert.equal(missing, []);
});

test.run();
