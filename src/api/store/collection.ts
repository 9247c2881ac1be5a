/**
 * All objects of one kind: looked up by name, listed in the order of Kubernetes, which is that of etcd's keys
 * (`namespace/name` by code unit, so `a-b/x` comes before `a/x`). Those that were read from a file are parsed when they
 * are first asked for.
 */
import type { KubeObject } from '../types/objects.ts';
import { type Held, StoredText } from './stored-text.ts';

const keyAt = (namespace: string, name: string) => `${namespace}/${name}`;
/** By which an object is found in its collection. */
export const keyOf = ({ metadata: { namespace = '', name } }: KubeObject): string => keyAt(namespace, name);
const namespaceOf = (key: string) => key.slice(0, key.indexOf('/'));

export class Collection {
  private readonly objects = new Map<string, Held>();
  /** The sorted keys; undefined after bulk insertion, until the next list. */
  private keys: string[] | undefined = [];
  private readonly sizes = new Map<string, number>();

  get(namespace: string, name: string): KubeObject | undefined {
    return this.at(keyAt(namespace, name));
  }

  private at(key: string): KubeObject | undefined {
    const held = this.objects.get(key);
    if (!(held instanceof StoredText)) return held;
    const { object } = held;
    this.objects.set(key, object);
    return object;
  }

  /** Parses the object with this key, if there is one and it has not been parsed yet. */
  parse(key: string): void {
    this.at(key);
  }

  /** The object, or its text if it has not been asked for yet. */
  held(key: string): Held | undefined {
    return this.objects.get(key);
  }

  /** All of them, in order, by their keys. They must not be changed. */
  everything(): { keys: readonly string[]; values: readonly Held[] } {
    const keys = [...this.ordered()];
    return { keys, values: keys.map((key) => this.objects.get(key)!) };
  }

  /** Objects of one namespace, or of all. */
  list(namespace?: string): KubeObject[] {
    const keys = this.ordered();
    if (namespace === undefined) return keys.map((key) => this.at(key)!);
    const first = `${namespace}/`;
    const found: KubeObject[] = [];
    for (let i = indexOf(keys, first); i < keys.length && keys[i]!.startsWith(first); i++) {
      found.push(this.at(keys[i]!)!);
    }
    return found;
  }

  /** Number of objects in the namespace. */
  count(namespace: string): number {
    return this.sizes.get(namespace) ?? 0;
  }

  put(key: string, held: Held): void {
    if (!this.objects.has(key)) {
      const namespace = namespaceOf(key);
      this.sizes.set(namespace, this.count(namespace) + 1);
      if (this.keys !== undefined) this.keys.splice(indexOf(this.keys, key), 0, key);
    }
    this.objects.set(key, held);
  }

  take(key: string): void {
    if (!this.objects.delete(key)) return;
    const namespace = namespaceOf(key);
    const left = this.count(namespace) - 1;
    if (left === 0) this.sizes.delete(namespace);
    else this.sizes.set(namespace, left);
    if (this.keys !== undefined) this.keys.splice(indexOf(this.keys, key), 1);
  }

  /** Call before inserting many objects: the keys are then sorted once, when next needed. */
  expectMany(): void {
    this.keys = undefined;
  }

  private ordered(): string[] {
    this.keys ??= [...this.objects.keys()].sort();
    return this.keys;
  }
}

/** Index of the first key that is not less than `key`. */
function indexOf(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[middle]! < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
