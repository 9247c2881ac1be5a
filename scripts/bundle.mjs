/**
 * Bundles the sources into dist/bundle:
 *
 *   build.json                   what another build compares before it hands a node over (`dataplane upgrade`)
 *   pipeline.js                  the pipeline and its tables, importable as `dataplane/pipeline`; imports nothing
 *   traced.js                    the same pipeline, reporting its calls (traced-pipeline.mjs); loaded only by `dataplane trace`
 *   cli/main.js, worker/main.js  the command with the agent and the controller, and the entry point of a worker thread
 *   standby/main.js              forwards while a node has no agent
 *   launcher/main.js             starts containers from images
 *   cni/main.js                  the CNI plugin
 *   chunks/                      code that both share, or that a command loads only if needed
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
 * Packages stay outside: npm installs them beside the bundle.
 */
import { chmodSync, cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { faultPoints } from './fault-points.mjs';
import { tracedPipeline } from './traced-pipeline.mjs';
import { withoutPolicies } from './without-policies.mjs';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const OUT = join(ROOT, 'dist/bundle');
/** Sources that are bundled once for all importers, and where: one directory above every entry and chunk. */
const BUNDLED = {
  [join(ROOT, 'native-free-dataplane/pipeline.ts')]: '../pipeline.js',
  [join(ROOT, 'native-free-dataplane/trace/traced.ts')]: '../traced.js',
};

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
async function bundleAsFunction(entry, outfile, plugins = []) {
  const options = { ...COMMON, plugins, entryPoints: [entry], outfile };
  const probe = await build({ ...options, format: 'esm', write: false, metafile: true });
  const { exports, imports } = Object.values(probe.metafile.outputs).find(({ entryPoint }) => entryPoint);
  if (imports.length > 0) throw new Error(`${entry} imports ${imports[0].path}: it must run without anything`);
  await build({
    ...options,
    format: 'iife',
    globalName: 'bundled',
    footer: { js: `export const { ${exports.join(', ')} } = bundled;` },
  });
}

const traced = tracedPipeline(ROOT, join(ROOT, 'native-free-dataplane/trace/probe.ts'));

/** Makes all importers of the pipeline use the bundled one. */
const bundledPipeline = {
  name: 'bundled-pipeline',
  setup({ onResolve }) {
    onResolve({ filter: /\/(pipeline|traced)\.ts$/ }, ({ path, resolveDir }) => {
      const bundled = BUNDLED[join(resolveDir, path)];
      return bundled === undefined ? undefined : { path: bundled, external: true };
    });
  },
};

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
    entryPoints: ['cli', 'worker', 'standby', 'runtime/launcher', 'cni'].map((path) => ({
      in: `src/${path}/main.ts`,
      out: `${path.split('/').at(-1)}/main`,
    })),
    outdir: 'dist/bundle',
    chunkNames: 'chunks/[name]-[hash]',
    format: 'esm',
    platform: 'node',
    packages: 'external',
    splitting: true,
    plugins: [bundledPipeline],
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
chmodSync(join(OUT, 'cli/main.js'), 0o755);
chmodSync(join(OUT, 'agnhost/main.js'), 0o755);
