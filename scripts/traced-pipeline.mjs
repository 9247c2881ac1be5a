/**
 * An esbuild plugin for the traced build of the pipeline: every function of the stages, the overlays and the tables
 * reports its arguments when it begins, and its result with the line of the `return` when it ends
 * (native-free-dataplane/trace/probe.ts). The sources and the build that forwards are not changed.
 *
 * Sources are parsed, and text is inserted at positions from the syntax tree, so formatting and names do not matter.
 */
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { parseSync, Visitor } from 'oxc-parser';
import { insertAll } from './insert-text.mjs';

/** What is traced: decisions and look-ups, but no access to headers, hashes and shared memory. */
const TRACED =
  /native-free-dataplane\/((pipeline|settle|transmit)\.ts|(stages|overlay|conntrack|services|node|fragments|policies)\/.*\.ts)$/;

/** @param root the project's root; @param probe path of probe.ts */
export function tracedPipeline(root, probe) {
  return {
    name: 'traced-pipeline',
    setup({ onLoad }) {
      onLoad({ filter: TRACED }, ({ path }) => ({
        contents: `import { probe as $probe } from ${JSON.stringify(probe)};${instrument(readFileSync(path, 'utf8'), relative(root, path))}`,
        loader: 'ts',
      }));
    },
  };
}

/**
 * The source with reports added to every top-level function declaration.
 * @param file the file name in the reports
 */
export function instrument(source, file) {
  const { program, errors } = parseSync(file, source);
  if (errors.length > 0) throw new Error(`${file}: ${errors[0].message}`);
  const lines = lineStarts(source);
  const inserts = [];
  for (const statement of program.body) {
    const declared = statement.type === 'ExportNamedDeclaration' ? statement.declaration : statement;
    if (declared?.type === 'FunctionDeclaration' && declared.body !== null) {
      instrumentFunction(declared, file, inserts, (at) => lineOf(lines, at));
    }
  }
  return insertAll(source, inserts);
}

function instrumentFunction({ id, body, returnType }, file, inserts, line) {
  const judges = returnType?.typeAnnotation?.typeName?.name === 'Verdict';
  const enter = `$probe.enter(${JSON.stringify(file)}, ${JSON.stringify(id.name)}, ${judges}, arguments);`;
  inserts.push({ at: body.start + 1, insert: enter });
  for (const { argument, start, end } of returnsOf(body)) {
    if (argument === null) {
      inserts.push({ at: start, insert: `{ $probe.leave(${line(start)});` }, { at: end, insert: '}' });
    } else report(argument, inserts, line);
  }
  inserts.push({ at: body.end - 1, insert: `$probe.leave(${line(body.end - 1)});` });
}

/** Reports the value of a `return`; for a conditional expression, with the line of the branch taken. */
function report(expression, inserts, line) {
  if (expression.type === 'ConditionalExpression') {
    report(expression.consequent, inserts, line);
    report(expression.alternate, inserts, line);
    return;
  }
  inserts.push({ at: expression.start, insert: `$probe.leave(${line(expression.start)}, ` });
  inserts.push({ at: expression.end, insert: ')' });
}

/** The `return` statements of a function's body, not those of functions inside it. */
function returnsOf(body) {
  const found = [];
  let inner = 0;
  const begin = () => inner++;
  const end = () => inner--;
  const nested = {};
  for (const type of ['FunctionDeclaration', 'FunctionExpression', 'ArrowFunctionExpression']) {
    nested[type] = begin;
    nested[`${type}:exit`] = end;
  }
  new Visitor({ ...nested, ReturnStatement: (node) => inner === 0 && found.push(node) }).visit({
    type: 'Program',
    body: [body],
    sourceType: 'module',
    hashbang: null,
    start: body.start,
    end: body.end,
  });
  return found;
}

function lineStarts(source) {
  const starts = [0];
  for (let at = source.indexOf('\n'); at >= 0; at = source.indexOf('\n', at + 1)) starts.push(at + 1);
  return starts;
}

/** The 1-based line of an offset in the source. */
function lineOf(starts, at) {
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (starts[middle] <= at) low = middle;
    else high = middle - 1;
  }
  return low + 1;
}
