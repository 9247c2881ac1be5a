/** Parses names of kinds and objects: `po`, `pods`, `svc,ep`, `pod/mc3`, `all`. */
import { nearestWord } from '../../api/nearest-word.ts';
import { RESOURCES, type Resource, resourceNamed } from '../../api/resources.ts';
import { usageError } from '../errors.ts';

/** The category `all`, as in `kubectl get all`. */
const ALL = RESOURCES.filter(({ categories }) => categories.includes('all'));

/** One kind by any of its names. @throws CliError with status 2 */
export function needResource(word: string): Resource {
  const found = resourceNamed(word);
  if (found !== undefined) return found;
  const names = RESOURCES.flatMap(({ plural, singular, shortNames }) => [singular, plural, ...shortNames]);
  const near = nearestWord(word.toLowerCase(), names);
  const known = RESOURCES.map(({ plural }) => plural).join(', ');
  throw usageError(
    `there is no kind "${word}"`,
    near === undefined ? `expected one of ${known}` : `did you mean ${near}?`,
  );
}

/** Kinds by a list of names: `po,svc` or `all`. */
function needResources(names: string): Resource[] {
  return names
    .split(',')
    .filter(Boolean)
    .flatMap((word) => (word === 'all' ? ALL : [needResource(word)]));
}

export interface Named {
  resource: Resource;
  name: string;
}

/** Operands `KIND`, `KIND NAME…` or `KIND/NAME…` → the kinds, or the objects if names are given. */
export function readOperands(operands: readonly string[]): { resources: Resource[]; objects: Named[] } {
  const [first, ...rest] = operands;
  if (first === undefined) return { resources: [], objects: [] };
  if (operands.some((word) => word.includes('/'))) {
    const objects = operands.map((word) => {
      const [kind, name, more] = word.split('/');
      if (!kind || !name || more !== undefined) throw usageError(`"${word}": expected KIND/NAME, such as pod/mc3`);
      return { resource: needResource(kind), name };
    });
    return { resources: [], objects };
  }
  const resources = needResources(first);
  if (rest.length === 0) return { resources, objects: [] };
  return { resources: [], objects: resources.flatMap((resource) => rest.map((name) => ({ resource, name }))) };
}
