/** GET on resources: an object, a list (complete or paginated), a watch. */
import { expired, listExpired, tooLargeVersion } from '../errors.ts';
import type { Predicate } from '../selectors.ts';
import type { KubeObject } from '../types/objects.ts';
import { type Call, rendererOf, replyObject } from './call.ts';
import { decodePosition, encodePosition, keyOf } from './continue-token.ts';
import { writeList } from './list-response.ts';
import { type ListOptions, readListOptions, selection } from './query.ts';
import type { ListMeta } from './render.ts';
import { responseSink, type WatchSink } from './watch-sink.ts';
import { startWatch } from './watch-stream.ts';

const WATCH_TIMEOUT_S = 30 * 60;

export function get(call: Call): void | Promise<void> {
  const { registry, target, query, response } = call;
  const { resource, namespace, name } = target;
  const options = readListOptions(query);
  if (options.watch) return watch(call, options)(responseSink(response));
  if (name === undefined) return list(call, options);
  checkVersion(options.resourceVersion, registry.store.version);
  replyObject(call, 200, registry.get(resource, namespace, name));
}

function checkVersion(wanted: number | undefined, current: number): void {
  if (wanted !== undefined && wanted > current) throw tooLargeVersion(wanted, current);
}

interface Part {
  items: KubeObject[];
  metadata: ListMeta;
}

async function list(call: Call, options: ListOptions): Promise<void> {
  const { response } = call;
  const { items, metadata } = part(call, options, selection(call.target.resource, options));
  return writeList(response, rendererOf(call), metadata, items);
}

/** The objects of a list, or of the requested page (`limit`, `continue`). */
function part({ registry, target }: Call, options: ListOptions, selects: Predicate | undefined): Part {
  const { store } = registry;
  const { resource, namespace } = target;
  checkVersion(options.resourceVersion, store.version);
  const position = options.continueToken === '' ? undefined : decodePosition(options.continueToken);
  let version = position?.version ?? store.version;
  if (options.exact) version = options.resourceVersion!;
  if (version < 0) version = store.version;
  const all = store.listAt(resource.key, namespace, version);
  if (all === undefined) {
    if (position !== undefined) throw listExpired(encodePosition({ ...position, version: -1 }));
    throw expired(`The provided resource version is too old: ${version}`);
  }
  let items: KubeObject[] = selects === undefined ? all : all.filter(selects);
  if (position !== undefined) items = items.filter((object) => keyOf(object) > position.after);
  const metadata: ListMeta = { resourceVersion: String(version) };
  const { limit } = options;
  if (limit > 0 && items.length > limit) {
    // remainingItemCount is set only without selectors, as counting matches would cost too much
    // (storage/interfaces.go).
    if (selects === undefined) metadata.remainingItemCount = items.length - limit;
    items = items.slice(0, limit);
    metadata.continue = encodePosition({ version, after: keyOf(items.at(-1)!) });
  }
  return { items, metadata };
}

/** The objects that a deletion of a collection selects. */
export function selected(call: Call): KubeObject[] {
  const options = readListOptions(call.query);
  return part(call, options, selection(call.target.resource, options)).items;
}

/** Prepares a watch of a collection or of one object; the returned function starts it. @throws ApiError */
export function watch(call: Call, options: ListOptions): (sink: WatchSink) => void {
  const { registry, streams, target } = call;
  const { resource, namespace, name } = target;
  const { store } = registry;
  const chosen = selection(resource, options);
  const selects: Predicate | undefined =
    name === undefined ? chosen : (o) => o.metadata.name === name && (chosen?.(o) ?? true);
  const version = options.resourceVersion ?? 0;
  // The client's version is from before this store was created anew: it must list again.
  if (version > store.version) throw expired(`too large resource version: ${version}, current: ${store.version}`);
  const fromNow = version === 0 || options.sendInitialEvents;
  const initial = () => {
    const all: KubeObject[] = store.list(resource.key, namespace);
    return selects === undefined ? all : all.filter(selects);
  };
  const seconds = options.timeoutSeconds;
  const watched = {
    renderer: rendererOf(call),
    namespace,
    selects,
    bookmarks: options.bookmarks,
    timeoutMs: (seconds > 0 ? Math.min(seconds, 2_000_000) : WATCH_TIMEOUT_S * (1 + Math.random())) * 1000,
    version: fromNow ? store.version : version,
    initial: fromNow ? initial() : undefined,
    endMark: options.sendInitialEvents,
  };
  return (sink) => {
    const end = startWatch(sink, store.history(resource.key), watched);
    streams.add(end);
    sink.onClose(() => streams.delete(end));
  };
}
