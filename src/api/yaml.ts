/**
 * YAML as kubectl reads it (sigs.k8s.io/yaml with go-yaml v2): the scalars of YAML 1.1, so that `0755` is octal and
 * `yes` is true; merge keys; no duplicate keys. As in go-yaml, `22:22` and dates are strings.
 */
import { LineCounter, type ParseOptions, parse, parseAllDocuments, type SchemaOptions, type Tags } from 'yaml';

/** Tags of YAML 1.1 that go-yaml v2 does not resolve for plain scalars, or that JSON cannot represent. */
const ABSENT = new Set(
  ['tag:yaml.org,2002:timestamp', 'tag:yaml.org,2002:set', 'tag:yaml.org,2002:omap'].concat('tag:yaml.org,2002:pairs'),
);

function goTags(tags: Tags): Tags {
  return tags.filter((tag) => {
    if (typeof tag === 'string') return !/^(timestamp|set|omap|pairs|floatTime|intTime)$/.test(tag);
    // Base 60: `22:22` would be the number 1342.
    return !ABSENT.has(tag.tag) && (tag as { format?: string }).format !== 'TIME';
  });
}

const YAML_OPTIONS: ParseOptions & SchemaOptions & { version: '1.1' } = {
  version: '1.1',
  schema: 'yaml-1.1',
  merge: true,
  uniqueKeys: true,
  customTags: goTags,
};

/** Limit on aliases, against exponential expansion ("billion laughs"). */
const MAX_ALIASES = 100;

/** A document of a text. */
export interface YamlDocument {
  /** Position in the text, from 1; empty documents count. */
  readonly number: number;
  /** Line at which it begins, from 1. */
  readonly line: number;
  /** Undefined if there is a mistake. */
  readonly value: unknown;
  readonly mistake: string | undefined;
}

/** The documents of a text, without those that are empty or contain only comments. */
export function* readDocuments(text: string): Generator<YamlDocument> {
  const lines = new LineCounter();
  const parsed = parseAllDocuments(text, { ...YAML_OPTIONS, prettyErrors: false, lineCounter: lines });
  let number = 0;
  for (const document of Array.isArray(parsed) ? parsed : []) {
    number++;
    const { line } = lines.linePos(document.contents?.range?.[0] ?? 0);
    const [error] = document.errors;
    if (error !== undefined) {
      const at = lines.linePos(error.pos[0]);
      const mistake = `line ${at.line}, column ${at.col}: ${error.message.split('\n')[0]}`;
      yield { number, line, value: undefined, mistake };
      continue;
    }
    let value: unknown;
    try {
      value = document.toJS({ maxAliasCount: MAX_ALIASES });
    } catch (problem) {
      yield { number, line, value, mistake: `line ${line}: ${(problem as Error).message}` };
      continue;
    }
    if (value !== null && value !== undefined) yield { number, line, value, mistake: undefined };
  }
}

/** One document. Throws Error with line and column. */
export function readYaml(text: string): unknown {
  return parse(text, { ...YAML_OPTIONS, maxAliasCount: MAX_ALIASES });
}
