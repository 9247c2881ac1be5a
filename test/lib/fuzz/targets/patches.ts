/** Patches of all types: applied or refused with a PatchError; the patched object and every prototype stay as they were. */
import { isDeepStrictEqual } from 'node:util';
import { PatchError } from '../../../../src/api/patches/json.ts';
import { jsonPatch } from '../../../../src/api/patches/json-patch.ts';
import { mergePatch } from '../../../../src/api/patches/merge-patch.ts';
import { strategicMergePatch } from '../../../../src/api/patches/strategic.ts';
import { pod, service } from '../../../unit/controllers/test-cluster.ts';
import { pick, type Random } from '../../seeded-random.ts';
import { jsonPatchOf, spoil } from '../json.ts';
import type { FuzzTarget } from '../target.ts';

const OBJECTS: readonly (readonly [object: object, type: string])[] = [
  [pod('p'), 'k8s.io.api.core.v1.Pod'],
  [service('s'), 'k8s.io.api.core.v1.Service'],
];
const DIRECTIVES = ['$patch', '$retainKeys', '$setElementOrder/ports', '$deleteFromPrimitiveList/finalizers'];

export const target: FuzzTarget = {
  name: 'patches',
  unit: 'patches',
  run(random: Random): number {
    const [object, type] = pick(random, OBJECTS);
    const kind = random.below(3);
    let patch: unknown = object;
    for (let n = 1 + random.below(4); n > 0; n--) patch = spoil(patch, random);
    if (kind === 0 && random.below(3) !== 0) patch = jsonPatchOf(random);
    if (kind === 2 && random.below(2) === 0 && typeof patch === 'object' && patch !== null && !Array.isArray(patch)) {
      const values = ['delete', 'replace', 'merge', [], ['name'], [{ port: 80 }], 7];
      patch = { ...patch, [pick(random, DIRECTIVES)]: pick(random, values) };
    }
    const before = structuredClone(object);
    try {
      if (kind === 0) jsonPatch(object, patch);
      else if (kind === 1) mergePatch(object, patch);
      else strategicMergePatch(object, patch, type);
    } catch (error) {
      if (!(error instanceof PatchError)) throw error;
    }
    if (!isDeepStrictEqual(object, before)) throw new Error(`the patched object was changed: ${JSON.stringify(patch)}`);
    if (Object.keys(Object.prototype).length > 0) throw new Error(`a prototype was changed: ${JSON.stringify(patch)}`);
    return 1;
  },
};
