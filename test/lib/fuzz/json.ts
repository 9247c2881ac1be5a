/** JSON values with something in them replaced, removed, repeated or moved. */
import { pick, type Random } from '../seeded-random.ts';

type Json = unknown;

const ODD: readonly Json[] = [
  null,
  true,
  -1,
  0,
  1.5,
  1e21,
  65536,
  '',
  'x',
  '..',
  '10.244.1.300',
  'a'.repeat(300),
  '\u0000',
  [],
  [null],
  [[]],
  {},
  { name: 7 },
  { __proto__: null, constructor: 1 },
];

function oddValue(random: Random): Json {
  return pick(random, ODD);
}

export function spoil(value: Json, random: Random): Json {
  if (random.below(12) === 0 || typeof value !== 'object' || value === null) return oddValue(random);
  if (Array.isArray(value)) {
    const copy = [...value];
    const at = random.below(copy.length + 1);
    if (at === copy.length || random.below(4) === 0) copy.push(random.below(2) === 0 ? oddValue(random) : copy[0]);
    else copy[at] = spoil(copy[at], random);
    return copy;
  }
  const copy: Record<string, Json> = { ...(value as Record<string, Json>) };
  const keys = Object.keys(copy);
  const key = keys[random.below(keys.length + 1)] ?? pick(random, ['spec', 'ports', '__proto__', 'toString', '']);
  if (random.below(8) === 0) delete copy[key];
  else {
    Object.defineProperty(copy, key, {
      value: spoil(copy[key], random),
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return copy;
}

const PATHS = ['/spec', '/spec/ports/0', '/spec/ports/-', '/metadata/labels/a~1b', '', '/', '/x/y', '/__proto__/x', 7];
const OPERATIONS = ['add', 'remove', 'replace', 'move', 'copy', 'test', 'jump', null];

/** A JSON patch, most of whose operations are possible. */
export function jsonPatchOf(random: Random): Json {
  return Array.from({ length: random.below(4) }, () => ({
    op: pick(random, OPERATIONS),
    path: pick(random, PATHS),
    from: pick(random, PATHS),
    value: oddValue(random),
  }));
}
