/**
 * A set of an object's fields, as a tree of path elements (structured-merge-diff/fieldpath). Its JSON is the FieldsV1
 * of `managedFields`: `{"f:spec":{"f:replicas":{}}}`; a `.` means the element itself, where it has others below it.
 */

export type FieldsV1 = { [element: string]: FieldsV1 };

export class FieldSet {
  /** Whether the field at this path is in the set. */
  self = false;
  readonly children = new Map<string, FieldSet>();

  static decode(fields: unknown): FieldSet {
    const set = new FieldSet();
    if (typeof fields !== 'object' || fields === null) return set;
    for (const [element, inner] of Object.entries(fields)) {
      if (element === '.') {
        set.self = true;
        continue;
      }
      const child = FieldSet.decode(inner);
      if (child.children.size === 0) child.self = true;
      set.children.set(element, child);
    }
    return set;
  }

  encode(): FieldsV1 {
    const fields: FieldsV1 = {};
    if (this.self && this.children.size > 0) fields['.'] = {};
    for (const element of [...this.children.keys()].sort()) fields[element] = this.children.get(element)!.encode();
    return fields;
  }

  get empty(): boolean {
    return !this.self && this.children.size === 0;
  }

  /** The node below this one; created if it does not exist. */
  at(element: string): FieldSet {
    let child = this.children.get(element);
    if (child === undefined) {
      child = new FieldSet();
      this.children.set(element, child);
    }
    return child;
  }

  union(other: FieldSet): FieldSet {
    return this.combine(other, (a, b) => a || b);
  }

  /** The fields of this set that are not in the other. */
  difference(other: FieldSet): FieldSet {
    return this.combine(other, (a, b) => a && !b);
  }

  intersection(other: FieldSet): FieldSet {
    return this.combine(other, (a, b) => a && b);
  }

  equals(other: FieldSet): boolean {
    return JSON.stringify(this.encode()) === JSON.stringify(other.encode()) && this.self === other.self;
  }

  /** Readable paths of all fields: `.spec.containers[name="c"].image`. */
  *paths(prefix: string = ''): Generator<string> {
    if (this.self && prefix !== '') yield prefix;
    for (const [element, child] of this.children) yield* child.paths(prefix + printElement(element));
  }

  private combine(other: FieldSet, keep: (mine: boolean, theirs: boolean) => boolean): FieldSet {
    const result = new FieldSet();
    result.self = keep(this.self, other.self);
    for (const element of new Set([...this.children.keys(), ...other.children.keys()])) {
      const mine = this.children.get(element) ?? NOTHING;
      const child = mine.combine(other.children.get(element) ?? NOTHING, keep);
      if (!child.empty) result.children.set(element, child);
    }
    return result;
  }
}

const NOTHING = new FieldSet();

function printElement(element: string): string {
  const rest = element.slice(2);
  if (element.startsWith('f:')) return `.${rest}`;
  if (element.startsWith('v:')) return `[=${rest}]`;
  const keys = Object.entries(JSON.parse(rest) as Record<string, unknown>);
  return `[${keys.map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(',')}]`;
}
