/** The published .proto files as protobufjs types. All packages are loaded when the first message is decoded. */
import protobuf from 'protobufjs';
import { messagesOf, OPENAPI_V2, PACKAGES } from '../published/types.ts';

let root: protobuf.Root | undefined;

/** The message type with this full name. Throws Error if there is none. */
export function messageType(name: string): protobuf.Type {
  if (root === undefined) {
    root = new protobuf.Root();
    for (const packageName of PACKAGES) {
      const namespace = root.define(packageName);
      for (const [message, descriptor] of Object.entries(messagesOf(packageName))) {
        // In proto2 a field that is set is encoded even if it is zero.
        const edition = packageName === OPENAPI_V2 ? 'proto3' : 'proto2';
        namespace.add(protobuf.Type.fromJSON(message, { ...descriptor, edition } as protobuf.IType));
      }
    }
  }
  return root.lookupType(name);
}
