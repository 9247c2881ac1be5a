/** A report in JUnit's XML format, as CI systems collect it. */

export interface JUnitCase {
  readonly name: string;
  readonly suite: string;
  readonly seconds: number;
  /** Undefined: it passed. */
  readonly failure: string | undefined;
}

export function junitReport({ name, suite, seconds, failure }: JUnitCase): string {
  const time = seconds.toFixed(3);
  const body = failure === undefined ? '/>' : `>\n    <failure message="${escapeXml(failure)}"/>\n  </testcase>`;
  return `<?xml version="1.0" encoding="UTF-8"?>
<testsuite name="${escapeXml(suite)}" tests="1" failures="${failure === undefined ? 0 : 1}" errors="0" skipped="0" time="${time}">
  <testcase classname="${escapeXml(suite)}" name="${escapeXml(name)}" time="${time}"${body}
</testsuite>
`;
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

/** Control characters cannot occur in XML 1.0, not even escaped. */
function escapeXml(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is replaced
  return text.replace(/[\u0000-\u001f]/g, ' ').replace(/[&<>"]/g, (character) => ENTITIES[character]!);
}
