/**
 * The pipeline as the workers run it: its modules joined into one function, for the sake of the compiler alone.
 *
 * What a module imports, V8 (11.3) reads again at every use: a load, a check that it was initialized, a check of its type,
 * for every `Verdict.GO_ON` and every `Rec.META`. A `const` of an enclosing function that runs once is compiled in as
 * the number it is. So each module becomes a function, called once, its imports become `const`s and its exports what it
 * returns; not a word of the code itself is changed. The other half is the compiler's allowance for inlining, which
 * ends in the middle of a packet's life as it is set. A packet costs about half of what it does without both
 * (bench/README.md, "Joined").
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInThisContext } from 'node:vm';

export type PipelineModule = typeof import('../../native-free-dataplane/pipeline.ts');

/** Bytecodes inlined into one function; V8's own limit is 920. */
const INLINING = '--max-inlined-bytecode-size-cumulative=4000';
const ENTRY = fileURLToPath(new URL('../../native-free-dataplane/pipeline.js', import.meta.url));

/** `import { a, b as c } from './path.js';` */
const IMPORT = /^import \{([^}]*)\} from '(\.[^']*)';$/gm;
/** `export const a = …`, `export function a(…`, `export class a …` */
const EXPORT = /^export (?=(?:const|function|class) (\w+))/gm;
/** Anything else that only a module may say. */
const OTHER = /^(?:import\b|export\b|.*\bimport\.meta\b)/m;

const UNFINISHED = '';

let joined: PipelineModule | undefined;

/** The joined pipeline of this thread, made when first asked for. @throws Error when a module has an unexpected form */
export function joinedPipeline(): PipelineModule {
  joined ??= loadJoined(ENTRY) as PipelineModule;
  return joined;
}

/**
 * Run a compiled module, joined with all it imports, and give what it exports.
 * @param entry absolute path
 * @throws Error as joinModules
 */
export function loadJoined(entry: string): unknown {
  setFlagsFromString(INLINING);
  return runInThisContext(joinModules(entry), { filename: `${entry} (joined)` });
}

/**
 * One expression that gives what the module `entry` exports.
 * @param entry absolute path of a compiled module; everything it imports is joined too, each once, before it is used
 * @throws Error when modules import each other in a circle, or use a form other than IMPORT and EXPORT
 */
export function joinModules(entry: string): string {
  const names = new Map<string, string>();
  const parts: string[] = [];
  const visit = (path: string): string => {
    const known = names.get(path);
    if (known === UNFINISHED) throw new Error(`${path} imports itself, by way of others`);
    if (known !== undefined) return known;
    names.set(path, UNFINISHED);
    const source = readFileSync(path, 'utf8');
    const imports: string[] = [];
    for (const [, list = '', from = ''] of source.matchAll(IMPORT)) {
      const module = visit(fileURLToPath(new URL(from, `file://${path}`)));
      imports.push(`const {${list.replaceAll(' as ', ': ')}} = ${module};`);
    }
    const exported = [...source.matchAll(EXPORT)].map(([, name]) => name);
    const body = source.replace(IMPORT, '').replace(EXPORT, '');
    const rest = OTHER.exec(body);
    if (rest) throw new Error(`${path}: ${rest[0]}`);
    const name = `module${parts.length}`;
    names.set(path, name);
    parts.push(
      `// ${path}\nconst ${name} = (() => {\n${imports.join('\n')}\n${body}\nreturn { ${exported.join(', ')} };\n})();`,
    );
    return name;
  };
  const last = visit(entry);
  return `(() => {\n'use strict';\n${parts.join('\n')}\nreturn ${last};\n})()`;
}
