/** What became of a packet, for people. Texts come from verdicts.ts; a number without one is printed as such. */
import { VERDICT_TEXTS, verdictName } from '../verdicts.ts';

/** `name: sentence`, or `verdict-N` for a number that is not used. */
export function printVerdict(verdict: number): string {
  const text = VERDICT_TEXTS[verdict];
  return text === undefined ? verdictName(verdict) : `${text.name}: ${text.sentence}`;
}

/** The same with the class in front and the source behind: `dropped  ipv4-checksum: … (RFC 1812 §5.2.2)`. */
export function printVerdictFully(verdict: number): string {
  const text = VERDICT_TEXTS[verdict];
  return text === undefined ? verdictName(verdict) : `${text.class}  ${text.name}: ${text.sentence} (${text.source})`;
}
