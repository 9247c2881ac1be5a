/** Text inserted into a source at positions from its syntax tree. */

/** @param inserts what to insert where; those at the same position keep their order */
export function insertAll(source, inserts) {
  const sorted = inserts.toSorted((a, b) => a.at - b.at);
  let text = '';
  let done = 0;
  for (const { at, insert } of sorted) {
    text += source.slice(done, at) + insert;
    done = at;
  }
  return text + source.slice(done);
}
