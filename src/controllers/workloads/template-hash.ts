/** A short hash of a pod template; equal for equal templates, whatever the order of their keys. */
import { createHash } from 'node:crypto';
import type { PodTemplate } from '../../api/types/objects.ts';

const LENGTH = 10;
/** Kubernetes' alphabet, without vowels (k8s.io/apimachinery/pkg/util/rand, SafeEncodeString). */
const ALPHABET = 'bcdfghjklmnpqrstvwxz2456789';

export function templateHash(template: PodTemplate | object): string {
  const digest = createHash('sha256')
    .update(JSON.stringify(sorted(template)))
    .digest();
  let text = '';
  for (let i = 0; i < LENGTH; i++) text += ALPHABET[digest[i]! % ALPHABET.length];
  return text;
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return Object.fromEntries(members.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, member]) => [key, sorted(member)]));
}
