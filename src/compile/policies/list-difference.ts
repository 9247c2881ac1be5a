/** What differs between two lists of objects, most of which are the same ones at the same place. */
export function difference<T>(before: readonly T[], after: readonly T[]): { removed: T[]; added: T[] } {
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) start++;
  let [ours, theirs] = [before.length, after.length];
  while (ours > start && theirs > start && before[ours - 1] === after[theirs - 1]) {
    ours--;
    theirs--;
  }
  const isSame = (i: number) => ours === theirs && before[i] === after[i];
  const gone = new Set<T>();
  for (let i = start; i < ours; i++) if (!isSame(i)) gone.add(before[i]!);
  const added: T[] = [];
  for (let i = start; i < theirs; i++) if (!isSame(i) && !gone.delete(after[i]!)) added.push(after[i]!);
  return { removed: [...gone], added };
}
