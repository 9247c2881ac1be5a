/** Rules about functions of the pipeline that need a parser: the compiler's own. */
import { join, relative } from 'node:path';
import type { Node } from 'typescript/unstable/ast';
import { API } from 'typescript/unstable/sync';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ROOT } from '../lib/cluster.ts';

/** As many as fit into registers on x86-64 (System V ABI §3.2.3), and more than a reader keeps apart. */
const MAX_PARAMETERS = 6;

interface Parsed {
  readonly where: string;
  readonly parameters: number;
}

/** Every function, method, accessor, arrow function and function type of a project. */
function functionsOf(project: string): Parsed[] {
  const api = new API({ cwd: ROOT });
  try {
    const config = join(ROOT, project, 'tsconfig.json');
    const found: Parsed[] = [];
    for (const { rootFiles, program } of api.updateSnapshot({ openProjects: [config] }).getProjects()) {
      for (const file of rootFiles) {
        const source = program.getSourceFile(file);
        assert.ok(source, file);
        const visit = (node: Node): void => {
          const { parameters, name } = node as { parameters?: { length: number }; name?: { text?: string } };
          if (parameters !== undefined) {
            const line = source.text.slice(0, node.end).split('\n').length;
            const where = `${relative(ROOT, file)}: ${name?.text ?? 'a function'} that ends in line ${line}`;
            found.push({ where, parameters: parameters.length });
          }
          node.forEachChild(visit);
        };
        visit(source);
      }
    }
    return found;
  } finally {
    api.close();
  }
}

test(`no function of the pipeline has more than ${MAX_PARAMETERS} parameters`, () => {
  const functions = functionsOf('native-free-dataplane');
  assert.ok(functions.length > 500, `${functions.length} functions found`);
  const counted = (name: string) => functions.find(({ where }) => where.includes(`: ${name} `))?.parameters;
  assert.is(counted('tcpPacket'), 5, 'parameters are counted');
  const wide = functions.filter(({ parameters }) => parameters > MAX_PARAMETERS);
  assert.equal(
    wide.map(({ where, parameters }) => `${where}: ${parameters} parameters`),
    [],
  );
});

test.run();
