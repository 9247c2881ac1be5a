/**
 * Bundles the sources into dist/bundle:
 *
 *   build.json                   what another build compares before it hands a node over (`dataplane upgrade`)
 *   pipeline.js                  the pipeline and its tables, importable as `dataplane/pipeline`; imports nothing
 *   traced.js                    the same pipeline, reporting its calls (traced-pipeline.mjs)
 *   start/main.js                starts a program (src/start)
 *   cli/main.js                  the command. It starts one of three programs beside it: agent.js, controller.js, or
 *                                commands.js with all other commands
 *   worker/, standby/, launcher/, cni/  a thread that forwards; a process that forwards while a node has no agent; the program
 *                                that starts containers from images; the CNI plugin
 *   published/                   the published types, read at run time, with their licence
 *   agnhost/                     the program of the image agnhost, with chunks of its own
 *   ui/                          the pages of `dataplane ui`: that of a cluster, and the playground, which contains the traced
 *                                pipeline and needs no server; any static server, or the browser alone, can open it
 *
 * The pipeline is one function that runs once. V8 reads an imported constant again at every use (a load, a check that
 * it is initialized, a check of its type, for every `Verdict.GO_ON`); a variable of an enclosing function that has run
 * once is known to the compiler. One ES module around the same code is 7 to 12 % slower than one function, separate
 * modules take about twice as long (bench/README.md, "One function").
 *
 * A program is one file with the npm packages that it uses, whose licences are in THIRD-PARTY-LICENSES; only packages with
 * native parts stay outside. Loading hundreds of files took three quarters of a process's start (bench/README.md, "Start").
 */
import { execFile } from 'node:child_process';
import { chmodSync, cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { faultPoints } from './fault-points.mjs';
import { writeLicences } from './licences.mjs';
import { schemaCode } from './schema-code.mjs';
import { tracedPipeline } from './traced-pipeline.mjs';
import { withoutPolicies } from './without-policies.mjs';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const OUT = join(ROOT, 'dist/bundle');
/** Packages with native parts, which npm installs beside the bundle. */
const NATIVE = ['koffi', 'raw-socket', '@napi-rs/nice'];
/** Piscina looks for the file of its threads beside its own, and starts it itself. */
const PISCINA_THREAD = 'cli/worker';
/**
 * The programs: file in the bundle, source, what to leave out of it, and arguments to find out which functions a start uses
 * (code-cache.mjs; default: all).
 */
const PROGRAMS = [
  {
    name: 'cli/commands',
    source: 'src/cli/main.ts',
    without: ['src/agent/agent.ts', 'src/controllers/controller.ts'],
    // Refused, or without a cluster.
    runs: ['get,pods', 'up,--nodes,1000', 'apply,-f,/nonexistent', 'status', 'down,--help'],
  },
  { name: 'cli/agent', source: 'src/cli/main.ts', only: 'agent' },
  { name: 'cli/controller', source: 'src/cli/main.ts', only: 'controller' },
  { name: PISCINA_THREAD, source: 'node_modules/piscina/dist/worker.js' },
  { name: 'worker/program', source: 'src/worker/main.ts' },
  { name: 'standby/program', source: 'src/standby/main.ts' },
  { name: 'launcher/program', source: 'src/runtime/launcher/main.ts' },
  { name: 'cni/program', source: 'src/cni/main.ts' },
];
/** Flags of V8 that a program is loaded with: its code is saved with the same. */
const flagsOf = async (name) =>
  name === 'worker/program' ? (await import(join(ROOT, 'dist/src/worker/inlining.js'))).INLINING_FLAGS : [];
/** How the file that is started chooses its program; default: program.js. */
const CHOICE = { cli: "/^(agent|controller)$/.test(process.argv[2]) ? process.argv[2] + '.js' : 'commands.js'" };

const COMMON = {
  absWorkingDir: ROOT,
  bundle: true,
  target: 'node20',
  // For file and line in stack traces. The package contains no sources, so none are embedded.
  sourcemap: true,
  sourcesContent: false,
  logLevel: 'warning',
};

/** One function that contains `entry` and everything it imports; its exports are those of the file. */
async function bundleAsFunction(entry, outfile, plugins = [], more = {}) {
  const options = { ...COMMON, plugins, entryPoints: [entry], outfile, ...more };
  const probe = await build({ ...options, format: 'esm', write: false, metafile: true });
  const { exports, imports } = Object.values(probe.metafile.outputs).find(({ entryPoint }) => entryPoint);
  if (imports.length > 0) throw new Error(`${entry} imports ${imports[0].path}: it must run without anything`);
  return build({
    ...options,
    format: 'iife',
    globalName: 'bundled',
    footer: { js: `export const { ${exports.join(', ')} } = bundled;` },
  });
}

const traced = tracedPipeline(ROOT, join(ROOT, 'native-free-dataplane/trace/probe.ts'));

/** A file of the pipeline and everything it imports, as the text of one module. It is made once for all programs. */
function asFunction(entry, plugins = []) {
  let made;
  const make = async () => {
    const options = { write: false, sourcemap: 'inline' };
    const { outputFiles } = await bundleAsFunction(entry, 'in-memory.js', plugins, options);
    return { contents: outputFiles[0].text, loader: 'js' };
  };
  const load = () => {
    made ??= make();
    return made;
  };
  return { filter: new RegExp(`^${join(ROOT, entry)}$`), load };
}

const PIPELINES = [
  asFunction('native-free-dataplane/pipeline.ts'),
  asFunction('native-free-dataplane/trace/traced.ts', [traced]),
];

/** Puts the pipeline into a program as one function, and not as modules among the others. */
const pipelineAsFunction = {
  name: 'pipeline-as-function',
  setup({ onLoad }) {
    for (const { filter, load } of PIPELINES) onLoad({ filter }, load);
  },
};

const schemas = schemaCode(ROOT);

/** Leaves out what a program never runs: other commands (`only`), or files (`without`). */
const partOf = ({ name, only, without = [] }) => ({
  name: 'part-of-a-program',
  setup({ onLoad }) {
    const commands = join(ROOT, 'src/cli/commands/');
    const isLeftOut = (path) =>
      without.some((one) => path === join(ROOT, one)) ||
      (only !== undefined && path.startsWith(commands) && path !== join(commands, `${only}.ts`));
    onLoad({ filter: /\.ts$/ }, ({ path }) => {
      if (!isLeftOut(path)) return undefined;
      const message = `${relative(ROOT, path)} is not part of ${name}`;
      return { contents: `throw new Error(${JSON.stringify(message)});`, loader: 'js' };
    });
  },
});

/** A program as one file. @returns the paths of its sources */
async function bundleProgram(program) {
  const { metafile } = await build({
    ...COMMON,
    entryPoints: [program.source],
    outfile: join('dist/bundle', `${program.name}.js`),
    format: 'cjs',
    platform: 'node',
    // The source is kept in memory as long as the program runs.
    minifyWhitespace: true,
    legalComments: 'none',
    external: NATIVE,
    // A script cannot import: `import()` becomes a call, of what is in the file or of require.
    supported: { 'dynamic-import': false },
    define: { 'import.meta.url': 'importMetaUrl' },
    banner: { js: "const importMetaUrl = require('node:url').pathToFileURL(__filename).href;" },
    metafile: true,
    plugins: [partOf(program), pipelineAsFunction, schemas],
  });
  return Object.keys(metafile.inputs);
}

/** Saves the compiled code of all programs, in processes of their own, since flags of V8 are those of a process. */
const saveCode = () =>
  Promise.all(
    PROGRAMS.filter(({ name }) => name !== PISCINA_THREAD).map(async ({ name, runs = [] }) => {
      const save = [join(ROOT, 'scripts/code-cache.mjs'), join(OUT, `${name}.js`), ...runs];
      return promisify(execFile)(process.execPath, [...(await flagsOf(name)), ...save]);
    }),
  );

/** The files that start programs. A package.json beside them marks them, and the programs, as CommonJS modules. */
function writeMains() {
  const directories = new Set(PROGRAMS.map(({ name }) => dirname(name)));
  for (const directory of directories) {
    const choice = CHOICE[directory] ?? "'program.js'";
    const start = `module.exports = require('../start/main.js').start(__filename, ${choice});`;
    writeFileSync(join(OUT, directory, 'main.js'), `#!/usr/bin/env node\n${start}\n`, { mode: 0o755 });
  }
  for (const directory of [...directories, 'start'])
    writeFileSync(join(OUT, directory, 'package.json'), '{ "type": "commonjs" }\n');
}

rmSync(OUT, { recursive: true, force: true });
await Promise.all([
  bundleAsFunction('native-free-dataplane/public.ts', 'dist/bundle/pipeline.js'),
  bundleAsFunction('native-free-dataplane/trace/traced.ts', 'dist/bundle/traced.js', [traced]),
  bundleAsFunction('test/lib/faulty-pipeline.ts', 'dist/test/bundle/faulty-pipeline.js', [
    faultPoints(ROOT, join(ROOT, 'test/lib/fault-point.ts')),
  ]),
  bundleAsFunction('bench/micro/lib/stage-loops.ts', 'dist/bench/micro/bundle/stage-loops.js'),
  bundleAsFunction('bench/micro/lib/conntrack-loops.ts', 'dist/bench/micro/bundle/conntrack-loops.js'),
  bundleAsFunction('native-free-dataplane/pipeline.ts', 'dist/bench/micro/bundle/without-policies.js', [
    withoutPolicies,
  ]),
  build({
    ...COMMON,
    entryPoints: ['src/start/start.ts'],
    outfile: 'dist/bundle/start/main.js',
    format: 'cjs',
    platform: 'node',
  }),
  Promise.all(PROGRAMS.map(bundleProgram)).then((sources) => {
    writeMains();
    return writeLicences(ROOT, sources.flat(), join(OUT, 'THIRD-PARTY-LICENSES'));
  }),
  build({
    ...COMMON,
    entryPoints: ['src/agnhost/main.ts'],
    outdir: 'dist/bundle/agnhost',
    chunkNames: 'chunks/[name]-[hash]',
    format: 'esm',
    platform: 'node',
    splitting: true,
  }),
  ...['page', 'playground'].map((page) =>
    build({
      ...COMMON,
      entryPoints: [`src/web/${page}.tsx`],
      outfile: `dist/bundle/ui/${page}.js`,
      format: 'iife',
      platform: 'browser',
      target: 'es2022',
      minify: true,
      sourcemap: false,
      // With its licences, which ask for that.
      legalComments: 'eof',
      // The cluster's page has its walks from the server.
      plugins: page === 'playground' ? [traced] : [],
    }),
  ),
]);
for (const file of ['page.html', 'playground.html', 'style.css', 'icon.svg'])
  cpSync(join(ROOT, 'src/web', file), join(OUT, 'ui', file));
cpSync(join(ROOT, 'src/api/published'), join(OUT, 'published'), {
  recursive: true,
  filter: (path) => !path.endsWith('.ts'),
});
const { TABLE_LAYOUTS } = await import(join(ROOT, 'dist/native-free-dataplane/dataplane.js'));
const { PROTOCOL } = await import(join(ROOT, 'dist/src/standby/messages.js'));
const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
writeFileSync(join(OUT, 'build.json'), `${JSON.stringify({ version, tables: TABLE_LAYOUTS, standby: PROTOCOL })}\n`);
chmodSync(join(OUT, 'agnhost/main.js'), 0o755);
await saveCode();
