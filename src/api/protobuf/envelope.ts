/**
 * Kubernetes' protobuf bodies: four bytes of magic, then runtime.Unknown with the kind and the object's own message
 * (apimachinery/pkg/runtime/serializer/protobuf). They are decoded to the object that the JSON body would be.
 */
import { META, RUNTIME, typeNameOf } from '../published/types.ts';
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
  if (OPTIONS.has(kind)) return `${META}.${kind}`;
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
