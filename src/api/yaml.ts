/**
 * YAML as kubectl reads it (sigs.k8s.io/yaml with go-yaml v2): the scalars of YAML 1.1, so that `0755` is octal and
 * `yes` is true; merge keys; no duplicate keys. As in go-yaml, `22:22` and dates are strings.
 */
import { type ParseOptions, parse, type SchemaOptions, type Tags } from 'yaml';

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

export const YAML_OPTIONS: ParseOptions & SchemaOptions & { version: '1.1' } = {
  version: '1.1',
  schema: 'yaml-1.1',
  merge: true,
  uniqueKeys: true,
  customTags: goTags,
};

/** Limit on aliases, against exponential expansion ("billion laughs"). */
export const MAX_ALIASES = 100;

/** One document. Throws Error with line and column. */
export function readYaml(text: string): unknown {
  return parse(text, { ...YAML_OPTIONS, maxAliasCount: MAX_ALIASES });
}
