/**
 * An esbuild plugin for a build of the pipeline that can be made to fail before any statement of the code that changes
 * shared tables (test/lib/fault-point.ts). The sources and the build that forwards are not changed.
 */
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { parseSync, Visitor } from 'oxc-parser';
import { insertAll } from './insert-text.mjs';

/** What writes to tables that outlive a worker. */
const INSTRUMENTED =
  /native-free-dataplane\/(conntrack\/.*|fragments\/.*|services\/affinity|stages\/(connect|flow|fragment|resume|route))\.ts$/;

/** @param root the project's root; @param point module that exports `point` */
export function faultPoints(root, point) {
  return {
    name: 'fault-points',
    setup({ onLoad }) {
      onLoad({ filter: INSTRUMENTED }, ({ path }) => ({
        contents: `import { point as $point } from ${JSON.stringify(point)};${instrument(readFileSync(path, 'utf8'), relative(root, path))}`,
        loader: 'ts',
      }));
    },
  };
}

/** The source with a call before every statement of its functions that can change something. */
export function instrument(source, file) {
  const { program, errors } = parseSync(file, source);
  if (errors.length > 0) throw new Error(`${file}: ${errors[0].message}`);
  const inserts = [];
  let functions = 0;
  const enter = () => functions++;
  const leave = () => functions--;
  const wrap = ({ start, end }) => {
    if (functions > 0) inserts.push({ at: start, insert: '{$point();' }, { at: end, insert: '}' });
  };
  // Declarations are not wrapped: what they declare is used after them.
  const precede = ({ body }) => {
    for (const { type, start } of body) {
      if (functions > 0 && type === 'VariableDeclaration') inserts.push({ at: start, insert: '$point();' });
    }
  };
  new Visitor({
    FunctionDeclaration: enter,
    'FunctionDeclaration:exit': leave,
    FunctionExpression: enter,
    'FunctionExpression:exit': leave,
    ExpressionStatement: wrap,
    ReturnStatement: wrap,
    BlockStatement: precede,
  }).visit(program);
  return insertAll(source, inserts);
}
