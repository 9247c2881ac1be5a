/** The licences of the npm packages that the bundle contains, in one file. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const IN_PACKAGE = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//;

/**
 * @param root what the paths of the sources are relative to
 * @param sources paths of all sources in the bundle
 * @throws Error if a package has no licence
 */
export function writeLicences(root, sources, file) {
  const packages = [...new Set(sources.flatMap((path) => IN_PACKAGE.exec(path)?.[1] ?? []))].sort();
  const sections = packages.map((path) => {
    const directory = join(root, path);
    const { name, version, license } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
    const texts = readdirSync(directory)
      .filter((entry) => /^(licen[cs]e|notice|copying)/i.test(entry))
      .map((entry) => readFileSync(join(directory, entry), 'utf8').trim());
    if (license === undefined && texts.length === 0) throw new Error(`${name} is bundled, but names no licence`);
    return [`${name} ${version} (${license})`, ...texts].join('\n\n');
  });
  writeFileSync(
    file,
    `This package contains code of these packages.\n\n${sections.join(`\n\n${'-'.repeat(72)}\n\n`)}\n`,
  );
}
