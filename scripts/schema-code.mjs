/** The functions that check objects of each kind, as code: ajv makes them at build time instead of at every start. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import standaloneCode from 'ajv/dist/standalone/index.js';

/** Replaces src/api/schema/prebuilt.ts by a module with the functions of all kinds, which is made once for all programs. */
export function schemaCode(root) {
  const file = join(root, 'src/api/schema/prebuilt.ts');
  let made;
  return {
    name: 'schema-code',
    setup({ onLoad }) {
      onLoad({ filter: /\/prebuilt\.ts$/ }, ({ path }) => {
        if (path !== file) return undefined;
        made ??= prebuilt(root);
        return made;
      });
    },
  };
}

async function prebuilt(root) {
  // As tsc compiled it before.
  const built = (name) => import(pathToFileURL(join(root, `dist/src/api/${name}.js`)).href);
  const { openSchemas, schemaOf, validatorName } = await built('schema/validators');
  const { RESOURCES } = await built('resources');
  const ajv = openSchemas(true);
  const names = {};
  for (const resource of RESOURCES) {
    ajv.addSchema(schemaOf(resource), resource.key);
    names[validatorName(resource)] = resource.key;
  }
  const contents = `
        export const PREBUILT = {};
        ((exports) => {${standaloneCode.default(ajv, names)}})(PREBUILT);`;
  return { contents, loader: 'js', resolveDir: join(root, 'src/api/schema') };
}
