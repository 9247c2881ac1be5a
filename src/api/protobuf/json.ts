/**
 * Decoded messages as JSON. Go encodes non-pointer fields in protobuf even if they are zero, so those that its JSON
 * omits (`omitempty`) are omitted here. Structs are always written, as in Go's JSON.
 */
import {
  EXTENSIONS,
  type FieldDescriptor,
  fullName,
  isScalar,
  META,
  type MessageDescriptor,
  messagesOf,
  RUNTIME,
  TEXT_LISTS,
} from '../published/types.ts';

type Message = Record<string, unknown>;

/** Types with a special JSON form. Undefined: the field is not set. */
const SPECIAL: Readonly<Record<string, (message: Message) => unknown>> = {
  [`${META}.Time`]: (time) => timeText(time, 0),
  [`${META}.MicroTime`]: (time) => timeText(time, 6),
  [`${META}.FieldsV1`]: ({ Raw }) => parsed(Raw),
  [`${RUNTIME}.RawExtension`]: ({ raw }) => parsed(raw),
  [`${EXTENSIONS}.JSON`]: ({ raw }) => parsed(raw),
  [`${EXTENSIONS}.JSONSchemaPropsOrArray`]: (either) =>
    own(either, 'schema') ? extensionSchema(either.schema) : (either.jSONSchemas as Message[]).map(extensionSchema),
  [`${EXTENSIONS}.JSONSchemaPropsOrBool`]: (either) =>
    own(either, 'schema') ? extensionSchema(either.schema) : either.allows,
  [`${EXTENSIONS}.JSONSchemaPropsOrStringArray`]: (either) =>
    own(either, 'schema') ? extensionSchema(either.schema) : either.property,
  'k8s.io.apimachinery.pkg.api.resource.Quantity': ({ string }) => string || undefined,
  'k8s.io.apimachinery.pkg.util.intstr.IntOrString': ({ type, intVal, strVal }) =>
    Number(type ?? 0) === 0 ? (intVal ?? 0) : strVal,
  ...Object.fromEntries(TEXT_LISTS.map((type) => [type, ({ items }: Message) => items])),
};

const extensionSchema = (message: unknown) => toJson(`${EXTENSIONS}.JSONSchemaProps`, message as Message);
const own = (message: Message, name: string) => Object.hasOwn(message, name) && message[name] !== null;

/** The JSON object of a decoded message of this published type. */
export function toJson(type: string, message: Message): Record<string, unknown> {
  const dot = type.lastIndexOf('.');
  const packageName = type.slice(0, dot);
  const descriptor: MessageDescriptor = messagesOf(packageName)[type.slice(dot + 1)]!;
  const json: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(descriptor.fields)) {
    if (!own(message, name)) continue;
    const value = fieldJson(packageName, field, message[name]);
    if (field.options?.inline) Object.assign(json, value);
    else if (value !== undefined) json[(field.options?.jsonName as string | undefined) ?? name] = value;
  }
  return json;
}

function fieldJson(packageName: string, field: FieldDescriptor, value: unknown): unknown {
  const type = fullName(packageName, field.type);
  if (field.rule === 'repeated') {
    const items = value as unknown[];
    return items.length === 0 ? undefined : items.map((item) => valueJson(type, item));
  }
  if (field.keyType !== undefined) {
    const entries = Object.entries(value as object).map(([key, item]) => [key, valueJson(type, item)]);
    return entries.length === 0 ? undefined : Object.fromEntries(entries);
  }
  const json = valueJson(type, value);
  const { pointer, omitEmpty } = field.options ?? {};
  const zero = json === '' || json === 0 || json === false;
  return zero && omitEmpty && !pointer ? undefined : json;
}

function valueJson(type: string, value: unknown): unknown {
  if (!isScalar(type)) {
    const special = SPECIAL[type];
    return special === undefined ? toJson(type, value as Message) : special(value as Message);
  }
  if (type === 'bytes') return Buffer.from(value as Uint8Array).toString('base64');
  return type === 'int64' || type === 'uint64' ? Number(value) : value;
}

function parsed(raw: unknown): unknown {
  const text = Buffer.from((raw as Uint8Array | undefined) ?? []).toString('utf8');
  return text === '' ? undefined : JSON.parse(text);
}

/** RFC 3339; undefined for year 1, Go's zero time. */
function timeText(time: Message, digits: number): string | undefined {
  if (!own(time, 'seconds')) return undefined;
  const seconds = Number(time.seconds);
  if (seconds <= -62_135_596_800) return undefined;
  const whole = new Date(seconds * 1000).toISOString().slice(0, 19);
  const fraction =
    digits === 0
      ? ''
      : `.${String(Number(time.nanos ?? 0))
          .padStart(9, '0')
          .slice(0, digits)}`;
  return `${whole}${fraction}Z`;
}
