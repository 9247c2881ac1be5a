/** Renders objects, lists and watch events in the negotiated form. */
import { encodeMessage } from '../protobuf/encode.ts';
import { enclose, encodeBody, encodeEvent, encodeList, messageTypeOf, PROTOBUF } from '../protobuf/envelope.ts';
import { META } from '../published/types.ts';
import { apiVersionOf, type Resource } from '../resources.ts';
import { columnDefinitions, columnsOf, type IncludeObject, metadataOnly, tableRow } from '../tables/table.ts';
import type { KubeObject, Status, WatchEventType } from '../types/objects.ts';
import type { Form } from './negotiation.ts';

export interface ListMeta {
  resourceVersion: string;
  continue?: string;
  remainingItemCount?: number;
}

/** Text, or bytes in protobuf. */
export type Output = string | Uint8Array;

/** How to write a list: the text before its items, each item, and the text after them. */
export interface TextList {
  head: string;
  item: (object: KubeObject) => string;
  tail: string;
}

/** Protobuf has lengths before contents: a list is made when all its items are encoded. */
export interface MessageList {
  item: (object: KubeObject) => Uint8Array;
  whole: (items: readonly Uint8Array[]) => Uint8Array;
}

/** Renders objects of one resource for one client. */
export interface Renderer {
  /** Media types of a response with objects, and of a watch. */
  mediaType: string;
  watchType: string;
  /** A response with one object. */
  object(object: KubeObject): Output;
  list(metadata: ListMeta): TextList | MessageList;
  /**
   * The object of a watch event. @param json makes the object's own JSON; @param first whether it is the stream's first
   * event
   */
  event(object: KubeObject, json: () => string, first: boolean): Output;
  /** The object of a BOOKMARK event. */
  bookmark(metadata: object): Output;
  /** The object of an ERROR event. */
  failure(status: Status): Output;
  /** A watch event with this object. */
  frame(type: WatchEventType, object: Output): Output;
}

export function renderer(resource: Resource, form: Form, include: IncludeObject): Renderer {
  if (form.mediaType === PROTOBUF) {
    return form.as === 'object' ? message(resource) : partialMessage(`meta.k8s.io/${form.version}`);
  }
  if (form.as === 'object') return plain(resource);
  const apiVersion = `meta.k8s.io/${form.version}`;
  return form.as === 'Table' ? table(resource, apiVersion, include) : partial(apiVersion);
}

const PARTIAL = 'PartialObjectMetadata';

/** What all forms in JSON have in common. */
const TEXT = {
  mediaType: 'application/json',
  watchType: 'application/json',
  failure: (status: Status): string => JSON.stringify(status),
  frame: (type: WatchEventType, object: Output): string => `{"type":"${type}","object":${object}}\n`,
};

/** What all forms in protobuf have in common. */
const MESSAGE = {
  mediaType: PROTOBUF,
  watchType: `${PROTOBUF};stream=watch`,
  failure: (status: Status): Uint8Array => encodeBody(status),
  frame: (type: WatchEventType, object: Output): Uint8Array => encodeEvent(type, object as Uint8Array),
};

const message = (resource: Resource): Renderer => {
  const apiVersion = apiVersionOf(resource);
  const content = (object: KubeObject) => resource.view?.read(object) ?? object;
  return messages(apiVersion, resource.kind, messageTypeOf(apiVersion, resource.kind), content);
};

const partialMessage = (apiVersion: string): Renderer =>
  messages(apiVersion, PARTIAL, `${META}.${PARTIAL}`, ({ metadata }) => ({ metadata }));

/** @param content what is sent of an object, as JSON of this type */
function messages(apiVersion: string, kind: string, type: string, content: (object: KubeObject) => object): Renderer {
  const item = (object: KubeObject) => encodeMessage(type, content(object));
  const whole = (object: KubeObject) => enclose(apiVersion, kind, item(object));
  const form = `${apiVersion} ${kind}`;
  return {
    ...MESSAGE,
    object: whole,
    list: (metadata) => ({ item, whole: (items) => encodeList(apiVersion, `${kind}List`, metadata, items) }),
    event: (object) => RECENT.of(object, form, whole),
    bookmark: (metadata) => enclose(apiVersion, kind, encodeMessage(type, { metadata })),
  };
}

/** The messages of recent events: each object is encoded once for all of its watches in one form. */
class RecentMessages {
  private readonly known = new Map<KubeObject, { form: string; bytes: Uint8Array }>();

  of(object: KubeObject, form: string, make: (object: KubeObject) => Uint8Array): Uint8Array {
    const found = this.known.get(object);
    if (found?.form === form) return found.bytes;
    const bytes = make(object);
    this.known.delete(object);
    this.known.set(object, { form, bytes });
    if (this.known.size > MAX_RECENT) this.known.delete(this.known.keys().next().value!);
    return bytes;
  }
}

const MAX_RECENT = 64;
const RECENT = new RecentMessages();

function plain(resource: Resource): Renderer {
  const { kind } = resource;
  const apiVersion = apiVersionOf(resource);
  const text = (object: KubeObject) => JSON.stringify(resource.view?.read(object) ?? object);
  return {
    ...TEXT,
    object: text,
    list: (metadata) => ({
      head: `{"kind":"${kind}List","apiVersion":"${apiVersion}","metadata":${JSON.stringify(metadata)},"items":[`,
      item: text,
      tail: ']}\n',
    }),
    event: (object, json) => (resource.view === undefined ? json() : text(object)),
    bookmark: (metadata) => JSON.stringify({ kind, apiVersion, metadata }),
  };
}

function partial(apiVersion: string): Renderer {
  const one = (object: KubeObject) => JSON.stringify({ ...metadataOnly(object), apiVersion });
  return {
    ...TEXT,
    object: one,
    list: (metadata) => ({
      head: `{"kind":"PartialObjectMetadataList","apiVersion":"${apiVersion}","metadata":${JSON.stringify(metadata)},"items":[`,
      item: one,
      tail: ']}\n',
    }),
    event: one,
    bookmark: (metadata) => JSON.stringify({ kind: 'PartialObjectMetadata', apiVersion, metadata }),
  };
}

function table(resource: Resource, apiVersion: string, include: IncludeObject): Renderer {
  const columns = resource.custom?.columns ?? columnsOf(resource.key);
  const definitions = columnDefinitions(columns);
  const row = (object: KubeObject) => JSON.stringify(tableRow(columns, object, include, Date.now()));
  const whole = (metadata: object, columnDefinitions: object[], rows: string) =>
    `{"kind":"Table","apiVersion":"${apiVersion}","metadata":${JSON.stringify(metadata)},` +
    `"columnDefinitions":${JSON.stringify(columnDefinitions)},"rows":[${rows}]}`;
  const versionOf = ({ metadata }: KubeObject) => ({ resourceVersion: metadata.resourceVersion });
  return {
    ...TEXT,
    object: (object) => whole(versionOf(object), definitions, row(object)),
    list: (metadata) => ({ head: whole(metadata, definitions, '').slice(0, -2), item: row, tail: ']}\n' }),
    // Only the first event of a watch has the column definitions.
    event: (object, _json, first) => whole(versionOf(object), first ? definitions : [], row(object)),
    bookmark: (metadata) => whole(metadata, [], ''),
  };
}
