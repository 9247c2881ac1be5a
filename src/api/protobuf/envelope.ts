/**
 * Kubernetes' protobuf bodies: four bytes of magic, then runtime.Unknown with the kind and the object's own message
 * (apimachinery/pkg/runtime/serializer/protobuf). They are decoded to the object that the JSON body would be, and encoded from it.
 */
import protobuf from 'protobufjs';
import { META, RUNTIME, typeNameOf } from '../published/types.ts';
import { encodeMessage } from './encode.ts';
import { toJson } from './json.ts';
import { messageType } from './root.ts';

export const PROTOBUF = 'application/vnd.kubernetes.protobuf';

const MAGIC = Buffer.from([0x6b, 0x38, 0x73, 0]);

/** The body does not match its media type. */
export class ProtobufError extends Error {
  override readonly name = 'ProtobufError';
}

/** Kinds that exist in every group: clients send them with any apiVersion. */
const OPTIONS = new Set(['DeleteOptions', 'CreateOptions', 'UpdateOptions', 'PatchOptions', 'Status']);

function typeOf(apiVersion: string, kind: string): string | undefined {
  if (OPTIONS.has(kind) || apiVersion.startsWith('meta.k8s.io/')) return `${META}.${kind}`;
  const slash = apiVersion.indexOf('/');
  return typeNameOf(slash < 0 ? '' : apiVersion.slice(0, slash), apiVersion.slice(slash + 1), kind);
}

/** @throws ProtobufError for a malformed body, and for kinds that Kubernetes does not publish */
export function decodeBody(body: Buffer): unknown {
  if (!body.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw new ProtobufError('provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]');
  }
  const unknown = read(`${RUNTIME}.Unknown`, body.subarray(MAGIC.length));
  const { apiVersion = '', kind = '' } = (unknown.typeMeta ?? {}) as { apiVersion?: string; kind?: string };
  const type = typeOf(apiVersion, kind);
  if (type === undefined) throw new ProtobufError(`no kind "${kind}" is registered for version "${apiVersion}"`);
  return { apiVersion, kind, ...toJson(type, read(type, unknown.raw ?? new Uint8Array())) };
}

function read(type: string, bytes: Uint8Array): Record<string, unknown> & { raw?: Uint8Array } {
  try {
    return messageType(type).decode(bytes) as never;
  } catch (error) {
    throw new ProtobufError(`${type}: ${(error as Error).message}`);
  }
}

/** The type of a kind's message. @throws TypeError for kinds that Kubernetes does not publish */
export function messageTypeOf(apiVersion: string, kind: string): string {
  const type = typeOf(apiVersion, kind);
  if (type === undefined) throw new TypeError(`${apiVersion} ${kind} has no protobuf message`);
  return type;
}

/** A body with the message `raw` of this kind. */
export function enclose(apiVersion: string, kind: string, raw: Uint8Array): Uint8Array {
  const unknown = messageType(`${RUNTIME}.Unknown`).encode({ typeMeta: { apiVersion, kind }, raw }).finish();
  return Buffer.concat([MAGIC, unknown]);
}

/** An object as a body. @throws TypeError for kinds that Kubernetes does not publish */
export function encodeBody(object: { apiVersion: string; kind: string }): Uint8Array {
  const { apiVersion, kind } = object;
  return enclose(apiVersion, kind, encodeMessage(messageTypeOf(apiVersion, kind), object));
}

/**
 * A list as a body, made of its encoded items: field 1 of every list is its metadata, field 2 the items
 * (apimachinery/pkg/apis/meta/v1, the lists of all groups).
 */
export function encodeList(
  apiVersion: string,
  kind: string,
  metadata: object,
  items: readonly Uint8Array[],
): Uint8Array {
  const writer = protobuf.Writer.create()
    .uint32(LIST_METADATA)
    .bytes(encodeMessage(`${META}.ListMeta`, metadata));
  for (const item of items) writer.uint32(LIST_ITEM).bytes(item);
  return enclose(apiVersion, kind, writer.finish());
}

/** Field numbers with the wire type of nested messages. */
const LIST_METADATA = (1 << 3) | 2;
const LIST_ITEM = (2 << 3) | 2;

/**
 * A watch event: four bytes of length, then WatchEvent with the object as a body
 * (apimachinery/pkg/util/framer, lengthDelimitedFrameWriter).
 */
export function encodeEvent(type: string, body: Uint8Array): Uint8Array {
  const event = messageType(`${META}.WatchEvent`)
    .encode({ type, object: { raw: body } })
    .finish();
  const frame = Buffer.allocUnsafe(4 + event.length);
  frame.writeUInt32BE(event.length);
  frame.set(event, 4);
  return frame;
}
