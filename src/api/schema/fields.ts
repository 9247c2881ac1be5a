/**
 * Building blocks for object schemas. Each makes a JSON Schema node with two keywords of our own: `expected`, the text
 * that the error message for a wrong value contains, and `unsupported`, which marks a Kubernetes field that has no
 * effect here: it is allowed and causes a warning.
 */

export interface Schema {
  expected?: string;
  unsupported?: true;
  type?: string | readonly string[];
  properties?: Record<string, Schema>;
  required?: readonly string[];
  additionalProperties?: boolean | Schema;
  items?: Schema;
  [keyword: string]: unknown;
}

const UNSUPPORTED: Schema = { unsupported: true };

/** RFC 1123 label in lower case, as Kubernetes requires. */
export const DNS_LABEL = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';
const QUALIFIED = '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]';

export const text = (expected = 'text'): Schema => ({ type: 'string', expected });
export const bool: Schema = { type: 'boolean', expected: 'true or false' };
export const anything: Schema = {};
export const filled = (what: string): Schema => ({ type: 'string', minLength: 1, expected: what });

export const int = (minimum: number, maximum = Number.MAX_SAFE_INTEGER): Schema => ({
  type: 'integer',
  minimum,
  maximum,
  expected:
    maximum === Number.MAX_SAFE_INTEGER
      ? `integer ${minimum === 0 ? 'of 0 or more' : `of at least ${minimum}`}`
      : `integer ${minimum}–${maximum}`,
});

export const portNumber: Schema = int(1, 65535);

export const oneOf = (...words: readonly string[]): Schema => ({
  enum: words,
  expected: words.length === 1 ? `"${words[0]}"` : `one of ${words.join(', ')}`,
});

/** Checks the length before the rest of the expression, whose time grows with the length. */
const bounded = (maxLength: number) => `(?=[^]{0,${maxLength}}$)`;

const matching = (pattern: string, maxLength: number, expected: string): Schema => ({
  type: 'string',
  pattern: `^${bounded(maxLength)}${pattern}$`,
  maxLength,
  expected,
});

export const dnsLabel: Schema = matching(
  DNS_LABEL,
  63,
  "a name of lower-case letters, digits and '-', starting and ending with a letter or digit, of at most 63 characters (RFC 1123 label)",
);

export const dns1035Label: Schema = matching(
  '[a-z]([-a-z0-9]*[a-z0-9])?',
  63,
  "a name of lower-case letters, digits and '-', starting with a letter and ending with a letter or digit, of at most 63 characters (RFC 1035 label)",
);

export const dnsSubdomain: Schema = matching(
  `${DNS_LABEL}(\\.${DNS_LABEL})*`,
  253,
  "a name of lower-case letters, digits, '-' and '.', starting and ending with a letter or digit, of at most 253 characters (RFC 1123 subdomain)",
);

/** IANA service name (RFC 6335 §5.1). The rule that it contains a letter is a look-ahead. */
export const portName: Schema = matching(
  '(?=.*[a-z])[a-z0-9]([a-z0-9]|-(?!-))*(?<!-)',
  15,
  "a port name of lower-case letters, digits and '-' with at least one letter, of at most 15 characters (RFC 6335)",
);

/** A port number, or the name of a container port. */
export const portRef: Schema = {
  ...portName,
  type: ['integer', 'string'],
  minimum: 1,
  maximum: 65535,
  expected: 'integer 1–65535 or the name of a container port',
};

const QUANTITY_PATTERN = `^${bounded(64)}[+-]?[0-9]*\\.?[0-9]+([eE][+-]?[0-9]+|[numkMGTPE]|[KMGTPE]i)?$`;
export const QUANTITY: RegExp = new RegExp(QUANTITY_PATTERN);

export const quantity: Schema = {
  type: ['string', 'number'],
  pattern: QUANTITY_PATTERN,
  expected: 'a quantity such as 100m, 0.5 or 64Mi',
};

export const list = (items: Schema, extra: Schema = {}): Schema => ({
  type: 'array',
  items,
  expected: extra.minItems ? 'a list that is not empty' : 'a list',
  ...extra,
});

export const map = (values: Schema): Schema => ({
  type: 'object',
  additionalProperties: values,
  expected: 'an object of keys and values',
});

export const textMap: Schema = map(text('text (quote numbers and true/false)'));

/** Label or annotation key: optional DNS prefix, '/', name of at most 63 characters. */
const qualifiedKey: Schema = {
  pattern: `^${bounded(317)}(${DNS_LABEL}(\\.${DNS_LABEL})*/)?(?=[^/]{1,63}$)${QUALIFIED}$`,
  maxLength: 317,
  expected: "a key such as app or example.com/app (letters, digits, '-', '_', '.')",
};

export const labels: Schema = {
  type: 'object',
  propertyNames: qualifiedKey,
  additionalProperties: matching(
    `(${QUALIFIED})?`,
    63,
    "a label value: text of at most 63 letters, digits, '-', '_', '.', starting and ending with a letter or digit",
  ),
  expected: 'an object of labels',
};

/**
 * An object with exactly these fields; a name that ends in `!` is required. `unsupported` fields have no effect here.
 */
export function object(fields: Record<string, Schema>, unsupported: readonly string[] = []): Schema {
  const properties: Record<string, Schema> = {};
  const required: string[] = [];
  for (const [key, schema] of Object.entries(fields)) {
    const name = key.replace(/!$/, '');
    if (name !== key) required.push(name);
    properties[name] = schema;
  }
  for (const name of unsupported) properties[name] = UNSUPPORTED;
  return { type: 'object', properties, required, additionalProperties: false, expected: 'an object' };
}

export const labelSelector: Schema = object({
  matchLabels: labels,
  matchExpressions: list(
    object({
      'key!': filled('a label'),
      'operator!': oneOf('In', 'NotIn', 'Exists', 'DoesNotExist'),
      values: list(text()),
    }),
  ),
});

/** Schemas that occur in several places, by name: compiled once instead of once per place. */
export const SHARED: Record<string, Schema> = {};

/** Registers `schema` under a name and returns a reference to it. */
export function shared(name: string, schema: Schema): Schema {
  SHARED[name] = schema;
  return { $ref: name, ...(schema.expected !== undefined && { expected: schema.expected }) };
}

/**
 * Names that become one segment of a URL, such as those of roles: `system:node` (apimachinery/pkg/api/validation/path).
 */
export const pathSegment: Schema = {
  type: 'string',
  pattern: '^(?!\\.\\.?$)[^/%]+$',
  maxLength: 253,
  expected: "a name without '/' and '%', and neither '.' nor '..'",
};

export const timestamp: Schema = text('a time such as 2025-01-31T12:00:00Z');

export const conditions: Schema = shared(
  'conditions',
  list(
    object({
      'type!': filled('the name of a condition'),
      'status!': oneOf('True', 'False', 'Unknown'),
      reason: text(),
      message: text(),
      lastTransitionTime: timestamp,
      lastProbeTime: timestamp,
      lastHeartbeatTime: timestamp,
      lastUpdateTime: timestamp,
      observedGeneration: int(0),
    }),
  ),
);

const metadataParts = {
  labels: shared('labels', labels),
  annotations: shared('annotations', { ...textMap, propertyNames: qualifiedKey }),
  ownerReferences: shared(
    'ownerReferences',
    list(
      object({
        'apiVersion!': filled('an apiVersion'),
        'kind!': filled('a kind'),
        'name!': filled('a name'),
        'uid!': filled('a uid'),
        controller: bool,
        blockOwnerDeletion: bool,
      }),
    ),
  ),
  finalizers: list({
    ...qualifiedKey,
    type: 'string',
    expected: 'the name of a finalizer such as example.com/cleanup',
  }),
};

/** Metadata of a kind whose names follow `name`. Fields that the server sets are accepted too. */
const metadata = (name: Schema): Schema =>
  object({
    name,
    generateName: text(),
    namespace: dnsLabel,
    ...metadataParts,
    uid: text(),
    resourceVersion: text(),
    generation: int(0),
    creationTimestamp: timestamp,
    deletionTimestamp: timestamp,
    deletionGracePeriodSeconds: int(0),
    selfLink: text(),
    managedFields: anything,
  });

/** A whole document. */
export function document(apiVersion: string, kind: string, name: Schema, fields: Record<string, Schema>): Schema {
  return object({ 'apiVersion!': oneOf(apiVersion), 'kind!': oneOf(kind), 'metadata!': metadata(name), ...fields });
}
