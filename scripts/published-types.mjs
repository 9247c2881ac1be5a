/**
 * Makes src/api/published/*.json from the .proto files and Go types that Kubernetes publishes as Go modules
 * (Apache-2.0):
 *
 *   go mod download k8s.io/api@v0.34.4 k8s.io/apimachinery@v0.34.4 k8s.io/apiextensions-apiserver@v0.34.4
 *   go mod download k8s.io/metrics@v0.34.4
 *   go mod download github.com/google/gnostic-models@v0.6.9 sigs.k8s.io/network-policy-api@v0.3.0
 *   node scripts/published-types.mjs "$(go env GOMODCACHE)" src/api/published
 *
 * Each file is one package as a descriptor of protobufjs. The options of a field have what the .proto file has only as
 * a marker in a comment, and what only the Go type has: the JSON name, whether it is inlined or required, its enum.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import protobuf from 'protobufjs';

const VERSION = 'v0.34.4';
const API = ['core/v1', 'apps/v1', 'batch/v1', 'autoscaling/v1', 'autoscaling/v2', 'networking/v1', 'policy/v1']
  .concat(['storage/v1', 'rbac/v1', 'discovery/v1', 'events/v1', 'coordination/v1', 'scheduling/v1', 'node/v1'])
  .concat(['admissionregistration/v1', 'authorization/v1', 'authentication/v1', 'certificates/v1']);
const MACHINERY = ['pkg/apis/meta/v1', 'pkg/runtime', 'pkg/api/resource', 'pkg/util/intstr'];

const [cache = '', target = ''] = process.argv.slice(2);

/** Folder of each package, by the name of the file it becomes. */
const folders = new Map();
for (const path of API) folders.set(path.replace('/', '-'), join(cache, `k8s.io/api@${VERSION}`, path));
for (const path of MACHINERY) {
  folders.set(path.replace(/^pkg\//, '').replaceAll('/', '-'), join(cache, `k8s.io/apimachinery@${VERSION}`, path));
}
folders.set('apiextensions-v1', join(cache, `k8s.io/apiextensions-apiserver@${VERSION}`, 'pkg/apis/apiextensions/v1'));
folders.set('metrics-v1beta1', join(cache, `k8s.io/metrics@${VERSION}`, 'pkg/apis/metrics/v1beta1'));

/** Struct name → proto field number → properties of the Go field. */
function goFields(folder) {
  const sources = ['types.go', 'types_jsonschema.go', 'micro_time.go', 'time.go']
    .map((file) => join(folder, file))
    .filter(existsSync)
    .map((file) => readFileSync(file, 'utf8'));
  const text = sources.join('\n');
  const enums = new Map();
  for (const [, name] of text.matchAll(/\/\/ \+enum\n(?:\/\/.*\n)*type (\w+) string/g)) enums.set(name, []);
  for (const [, type, value] of text.matchAll(/^\s*\w+\s+(\w+)\s*=\s*"([^"]*)"/gm)) enums.get(type)?.push(value);
  const structs = new Map();
  for (const [, name, body] of text.matchAll(/^type (\w+) struct \{\n([\s\S]*?)\n\}/gm)) {
    const fields = new Map();
    for (const [, goType, tags] of body.matchAll(/^\s+(?:\w+\s+)?([\w.*[\]]+)\s+`([^`]*)`/gm)) {
      const number = /protobuf:"\w+,(\d+)/.exec(tags)?.[1];
      const json = /json:"([^"]*)"/.exec(tags)?.[1];
      if (number === undefined || json === undefined) continue;
      const [jsonName, ...flags] = json.split(',');
      const values = enums.get(goType.replace(/[*[\]]/g, ''));
      fields.set(Number(number), {
        jsonName,
        pointer: goType.startsWith('*'),
        inline: flags.includes('inline'),
        omitEmpty: flags.includes('omitempty'),
        values: values?.length ? values : undefined,
      });
    }
    structs.set(name, fields);
  }
  return structs;
}

/** The description in a comment, and its `+markers`. */
function readComment(comment) {
  const markers = new Map();
  const lines = [];
  for (const line of (comment ?? '').split('\n')) {
    const marker = /^\+([\w:]+)(?:=(.*))?$/.exec(line.trim());
    if (marker) markers.set(marker[1], (marker[2] ?? '').trim());
    else if (line.trim() === '---') break;
    else if (!/^\s*(TODO|\+)/.test(line)) lines.push(line.trim());
  }
  const text = lines
    .join('\n')
    .replace(/\n{2,}/g, '\n\n')
    .replace(/([^\n])\n(?!\n)/g, '$1 ')
    .trim();
  return { text, markers };
}

function fieldOptions(markers, go) {
  const options = {};
  for (const key of ['patchStrategy', 'patchMergeKey', 'listType', 'mapType', 'structType', 'default']) {
    if (markers.has(key)) options[key] = markers.get(key).replace(/^"|"$/g, '');
  }
  if (go?.inline) options.inline = true;
  else if (go && !go.omitEmpty && !markers.has('optional')) options.required = true;
  // Go encodes a non-pointer field in protobuf even if it is zero; its JSON omits it only with omitempty.
  if (go?.pointer) options.pointer = true;
  if (go?.omitEmpty) options.omitEmpty = true;
  if (go?.values) options.enum = go.values.filter((value) => value !== '').join(',');
  return options;
}

function convert(type, structs) {
  const fields = {};
  const go = structs.get(type.name);
  for (const field of type.fieldsArray) {
    const { text, markers } = readComment(field.comment);
    const own = go?.get(field.id);
    const options = fieldOptions(markers, own);
    const keys = [...(field.comment ?? '').matchAll(/^\+listMapKey=(.*)$/gm)].map(([, key]) => key.trim());
    if (keys.length > 0) options.listMapKeys = keys.join(',');
    if (own && !own.inline && own.jsonName !== field.name && own.jsonName !== '-') options.jsonName = own.jsonName;
    const json = { ...(field.map && { keyType: field.keyType }), type: field.type.replace(/^\./, ''), id: field.id };
    if (field.repeated) json.rule = 'repeated';
    if (Object.keys(options).length > 0) json.options = options;
    if (text !== '') json.comment = text;
    fields[field.name] = json;
  }
  const { text, markers } = readComment(type.comment);
  const atomic = markers.get('structType') === 'atomic' || markers.get('mapType') === 'atomic';
  return { fields, ...(atomic && { options: { atomic } }), ...(text !== '' && { comment: text }) };
}

function write(name, source, packageName, messages) {
  const lines = Object.entries(messages).map(
    ([type, message]) => `  ${JSON.stringify(type)}: ${JSON.stringify(message)}`,
  );
  const head = { licence: 'Apache-2.0', source, package: packageName };
  const text = `${JSON.stringify(head).slice(0, -1)},\n"messages": {\n${lines.join(',\n')}\n}}\n`;
  writeFileSync(join(target, `${name}.json`), text);
}

const options = { keepCase: true, alternateCommentMode: true };
for (const [name, folder] of folders) {
  const parsed = protobuf.parse(readFileSync(join(folder, 'generated.proto'), 'utf8'), options);
  const namespace = parsed.root.lookup(parsed.package);
  const structs = goFields(folder);
  const messages = {};
  for (const type of namespace.nestedArray) messages[type.name] = convert(type, structs);
  write(name, `${folder.slice(cache.length + 1)}/generated.proto`, parsed.package, messages);
}

/**
 * Types that are published as Go alone: a custom resource has no protobuf numbers, so fields are counted.
 * @param name of the file, the Go file's path in the module cache, and the package
 */
function convertGo(name, path, packageName) {
  const text = readFileSync(join(cache, path), 'utf8');
  const enums = new Map();
  for (const [, type, value] of text.matchAll(/^\s*\w+\s+(\w+)\s*=\s*"([^"]*)"/gm)) {
    enums.set(type, [...(enums.get(type) ?? []), value]);
  }
  const structs = [...text.matchAll(/((?:^\/\/.*\n)*)^type (\w+) struct \{\n([\s\S]*?)\n\}/gm)];
  const known = new Set(structs.map(([, , type]) => type));
  const comment = (lines) => readComment(lines.replace(/^\s*\/\/ ?/gm, '').replace(/^<.*>$/gm, ''));
  const typeOf = (go) => (known.has(go) ? go : go.startsWith('metav1.') ? go.replace('metav1', META) : go);
  const messages = {};
  for (const [, head, type, body] of structs) {
    const fields = {};
    for (const [, lines, goType, json] of body.matchAll(
      /((?:^\s*\/\/.*\n)*)^\s+(?:\w+\s+)?([\w.*[\]]+)\s+`json:"([^"]*)".*`/gm,
    )) {
      const [jsonName, ...flags] = json.split(',');
      if (jsonName === '') continue;
      const go = goType.replace(/[*[\]]/g, '');
      const { text: about, markers } = comment(lines);
      // As in the .proto files, where metadata may be left out: a name is asked for elsewhere.
      const omitEmpty = flags.includes('omitempty') || /^metav1\.(Object|List)Meta$/.test(go);
      const options = fieldOptions(markers, { omitEmpty, values: enums.get(go) });
      const field = { type: scalar.has(go) ? go : typeOf(go), id: Object.keys(fields).length + 1 };
      if (!scalar.has(go) && !known.has(go) && !go.startsWith('metav1.')) field.type = 'string';
      if (goType.startsWith('[]')) field.rule = 'repeated';
      if (Object.keys(options).length > 0) field.options = options;
      if (about !== '') field.comment = about;
      fields[jsonName] = field;
    }
    const { text: about } = comment(head);
    messages[type] = { fields, ...(about !== '' && { comment: about }) };
  }
  write(name, path, packageName, messages);
}

const META = 'k8s.io.apimachinery.pkg.apis.meta.v1';
const scalar = new Set(['string', 'int32', 'bool']);
const clusterPolicies = 'sigs.k8s.io/network-policy-api@v0.3.0/apis/v1alpha2/clusternetworkpolicy_types.go';
convertGo('policy-networking-v1alpha2', clusterPolicies, 'k8s.io.networking.policy.v1alpha2');

const gnostic = join(cache, 'github.com/google/gnostic-models@v0.6.9/openapiv2');
const parsed = protobuf.parse(readFileSync(join(gnostic, 'OpenAPIv2.proto'), 'utf8'), { keepCase: true });
const messages = {};
for (const type of parsed.root.lookup(parsed.package).nestedArray) messages[type.name] = type.toJSON();
delete messages.Any.fields.value; // A google.protobuf.Any that is never set: `yaml` has the value.
write('openapi-v2', `${gnostic.slice(cache.length + 1)}/OpenAPIv2.proto`, parsed.package, messages);
