/** Renders objects, lists and watch events in the negotiated form. */
import { apiVersionOf, type Resource } from '../resources.ts';
import { columnDefinitions, columnsOf, type IncludeObject, metadataOnly, tableRow } from '../tables/table.ts';
import type { KubeObject } from '../types/objects.ts';
import type { Form } from './negotiation.ts';

export interface ListMeta {
  resourceVersion: string;
  continue?: string;
  remainingItemCount?: number;
}

/** Renders objects of one resource for one client. */
export interface Renderer {
  /** A response with one object. */
  object(object: KubeObject): string;
  /** A list: the text before its items, each item, and the text after them. */
  list(metadata: ListMeta): { head: string; item: (object: KubeObject) => string; tail: string };
  /**
   * An object in a watch event. @param json makes the object's own JSON; @param first whether it is the stream's first
   * event
   */
  event(object: KubeObject, json: () => string, first: boolean): string;
  /** The object of a BOOKMARK event. */
  bookmark(metadata: object): string;
}

export function renderer(resource: Resource, form: Form, include: IncludeObject): Renderer {
  if (form.as === 'object') return plain(resource);
  const apiVersion = `meta.k8s.io/${form.version}`;
  return form.as === 'Table' ? table(resource, apiVersion, include) : partial(apiVersion);
}

function plain(resource: Resource): Renderer {
  const { kind } = resource;
  const apiVersion = apiVersionOf(resource);
  const text = (object: KubeObject) => JSON.stringify(resource.view?.read(object) ?? object);
  return {
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
    object: (object) => whole(versionOf(object), definitions, row(object)),
    list: (metadata) => ({ head: whole(metadata, definitions, '').slice(0, -2), item: row, tail: ']}\n' }),
    // Only the first event of a watch has the column definitions.
    event: (object, _json, first) => whole(versionOf(object), first ? definitions : [], row(object)),
    bookmark: (metadata) => whole(metadata, [], ''),
  };
}
