/** The version of this program. */
import { readFileSync } from 'node:fs';

export function readVersion(): string {
  // The same place seen from the bundle.
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
