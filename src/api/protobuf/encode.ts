/**
 * JSON objects as Kubernetes' protobuf messages: the inverse of json.ts. What JSON omits is omitted here, which Go reads
 * as zero; fields that are not published are left out. A value of the wrong type is written as the zero value or left
 * out, so that encoding an object never fails. The fields of a type are looked up once.
 */
import protobuf from 'protobufjs';
import {
  EXTENSIONS,
  type FieldDescriptor,
  fullName,
  isScalar,
  META,
  messagesOf,
  RUNTIME,
  TEXT_LISTS,
} from '../published/types.ts';

type Writer = protobuf.Writer;
type Json = Record<string, unknown>;
/** Writes one field, with its tag. */
type Put = (writer: Writer, value: unknown) => void;

interface Plan {
  /** The message as an object of its fields' protobuf names, for types with a special JSON form. */
  special: ((value: never) => Json) | undefined;
  fields: ReadonlyMap<string, Put>;
  /** Structs that are inlined in JSON and messages of their own here. */
  inlined: readonly Put[];
}

const raw = (value: unknown) => ({ raw: Buffer.from(JSON.stringify(value)) });

const SPECIAL: Readonly<Record<string, (value: never) => Json>> = {
  [`${META}.Time`]: timeFields,
  [`${META}.MicroTime`]: timeFields,
  [`${META}.FieldsV1`]: (value: unknown) => ({ Raw: raw(value).raw }),
  [`${RUNTIME}.RawExtension`]: raw,
  [`${EXTENSIONS}.JSON`]: raw,
  [`${EXTENSIONS}.JSONSchemaPropsOrArray`]: (value: unknown) =>
    Array.isArray(value) ? { jSONSchemas: value } : { schema: value },
  [`${EXTENSIONS}.JSONSchemaPropsOrBool`]: (value: unknown) =>
    typeof value === 'boolean' ? { allows: value } : { allows: true, schema: value },
  [`${EXTENSIONS}.JSONSchemaPropsOrStringArray`]: (value: unknown) =>
    Array.isArray(value) ? { property: value } : { schema: value },
  'k8s.io.apimachinery.pkg.api.resource.Quantity': (value: unknown) => ({ string: String(value) }),
  'k8s.io.apimachinery.pkg.util.intstr.IntOrString': (value: unknown) =>
    typeof value === 'number' ? { type: 0, intVal: value } : { type: 1, strVal: value },
  ...Object.fromEntries(TEXT_LISTS.map((type) => [type, (items: unknown) => ({ items })])),
};

/** RFC 3339 as seconds and nanoseconds since 1970. */
function timeFields(text: string): Json {
  const ms = Date.parse(text);
  const [, fraction = ''] = /\.(\d+)/.exec(text) ?? [];
  return { seconds: Math.floor(ms / 1000) || 0, nanos: Number(fraction.padEnd(9, '0').slice(0, 9)) };
}

const plans = new Map<string, Plan>();

function planOf(type: string): Plan {
  const known = plans.get(type);
  if (known !== undefined) return known;
  const dot = type.lastIndexOf('.');
  const packageName = type.slice(0, dot);
  const special = SPECIAL[type];
  const fields = new Map<string, Put>();
  const inlined: Put[] = [];
  for (const [name, field] of Object.entries(messagesOf(packageName)[type.slice(dot + 1)]!.fields)) {
    const put = putOf(packageName, field);
    const jsonName = special === undefined ? (field.options?.jsonName as string | undefined) : undefined;
    if (field.options?.inline) inlined.push(put);
    else fields.set(jsonName ?? name, put);
  }
  const plan = { special, fields, inlined };
  plans.set(type, plan);
  return plan;
}

function putOf(packageName: string, field: FieldDescriptor): Put {
  const type = fullName(packageName, field.type);
  if (field.keyType !== undefined) {
    const key = scalar('string', 1);
    const value = isScalar(type) ? scalar(type, 2) : message(type, 2);
    return (writer, map) => {
      for (const [name, item] of Object.entries(Object(map))) {
        writer.uint32((field.id << 3) | LENGTH_DELIMITED).fork();
        key(writer, name);
        if (item !== null) value(writer, item);
        writer.ldelim();
      }
    };
  }
  const one = isScalar(type) ? scalar(type, field.id) : message(type, field.id);
  if (field.rule !== 'repeated') return one;
  return (writer, list) => {
    if (Array.isArray(list)) for (const item of list) one(writer, item);
  };
}

const LENGTH_DELIMITED = 2;

function message(type: string, id: number): Put {
  const tag = (id << 3) | LENGTH_DELIMITED;
  return (writer, value) => {
    writer.uint32(tag).fork();
    write(writer, planOf(type), value);
    writer.ldelim();
  };
}

/** Lists of scalars are not packed (proto2). */
function scalar(type: string, id: number): Put {
  const tag = (id << 3) | protobuf.types.basic[type as keyof typeof protobuf.types.basic];
  switch (type) {
    case 'string':
      return (writer, value) => writer.uint32(tag).string(typeof value === 'string' ? value : String(value));
    case 'bool':
      return (writer, value) => writer.uint32(tag).bool(value === true);
    case 'bytes':
      return (writer, value) =>
        writer.uint32(tag).bytes(Buffer.isBuffer(value) ? value : Buffer.from(String(value), 'base64'));
    default: {
      const method = type as 'int32' | 'int64' | 'uint32' | 'uint64' | 'double' | 'float';
      return (writer, value) => writer.uint32(tag)[method](Number(value) || 0);
    }
  }
}

function write(writer: Writer, { special, fields, inlined }: Plan, value: unknown): void {
  const json = (special === undefined ? value : special(value as never)) as Json;
  if (typeof json !== 'object' || json === null) return;
  for (const name in json) {
    const field = json[name];
    if (field !== undefined && field !== null) fields.get(name)?.(writer, field);
  }
  for (const put of inlined) put(writer, json);
}

/** The message of a JSON object of this published type. */
export function encodeMessage(type: string, json: object): Uint8Array {
  const writer = protobuf.Writer.create();
  write(writer, planOf(type), json);
  return writer.finish();
}
