/**
 * All objects of one kind: looked up by name, listed in the order of Kubernetes, which is that of etcd's keys
 * (`namespace/name` by code unit, so `a-b/x` comes before `a/x`).
 */
import type { KubeObject } from '../types/objects.ts';

const keyOf = (namespace: string, name: string) => `${namespace}/${name}`;

export class Collection {
  private readonly objects = new Map<string, KubeObject>();
  /** The sorted keys; undefined after bulk insertion, until the next list. */
  private keys: string[] | undefined = [];
  private readonly sizes = new Map<string, number>();

  get(namespace: string, name: string): KubeObject | undefined {
    return this.objects.get(keyOf(namespace, name));
  }

  /** Objects of one namespace, or of all. */
  list(namespace?: string): KubeObject[] {
    const keys = this.ordered();
    if (namespace === undefined) return keys.map((key) => this.objects.get(key)!);
    const first = `${namespace}/`;
    const found: KubeObject[] = [];
    for (let i = indexOf(keys, first); i < keys.length && keys[i]!.startsWith(first); i++) {
      found.push(this.objects.get(keys[i]!)!);
    }
    return found;
  }

  /** Number of objects in the namespace. */
  count(namespace: string): number {
    return this.sizes.get(namespace) ?? 0;
  }

  put(object: KubeObject): void {
    const { namespace = '', name } = object.metadata;
    const key = keyOf(namespace, name);
    if (!this.objects.has(key)) {
      this.sizes.set(namespace, this.count(namespace) + 1);
      if (this.keys !== undefined) this.keys.splice(indexOf(this.keys, key), 0, key);
    }
    this.objects.set(key, object);
  }

  take(object: KubeObject): void {
    const { namespace = '', name } = object.metadata;
    const key = keyOf(namespace, name);
    if (!this.objects.delete(key)) return;
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
