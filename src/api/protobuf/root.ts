/** The published .proto files as types of protobufjs: all packages at once, when the first message is met. */
import protobuf from 'protobufjs';
import { messagesOf, OPENAPI_V2, PACKAGES } from '../published/types.ts';

let root: protobuf.Root | undefined;

/** The message with this full name, ready to decode and encode. Throws Error for an unknown one. */
export function messageType(name: string): protobuf.Type {
  if (root === undefined) {
    root = new protobuf.Root();
    for (const packageName of PACKAGES) {
      const namespace = root.define(packageName);
      for (const [message, descriptor] of Object.entries(messagesOf(packageName))) {
        // Of proto2 matters that a field that is set is written, also when it is zero.
        const edition = packageName === OPENAPI_V2 ? 'proto3' : 'proto2';
        namespace.add(protobuf.Type.fromJSON(message, { ...descriptor, edition } as protobuf.IType));
      }
    }
  }
  return root.lookupType(name);
}
