/**
 * What the policies' selectors of namespaces and nodes select now. When labels change, the policies whose selectors
 * select something else are named; to the compiler these are policies that changed.
 */
import { type Labels, matchesSelector } from '../../api/selectors.ts';
import type { LabelSelector } from '../../api/types/objects.ts';
import { append } from './multimap.ts';
import type { PolicyRules } from './policy-rules.ts';

export interface PolicyNode {
  readonly labels: Labels;
  readonly addresses: readonly string[];
}

/** Names of namespaces, or addresses of nodes. */
export interface Selection {
  /** Another selection has another number. */
  readonly number: number;
  readonly values: ReadonlySet<string>;
}

interface Kept {
  readonly select: () => Set<string>;
  selection: Selection;
  readonly users: Set<PolicyRules>;
}

export class NameSelections {
  private namespaces: ReadonlyMap<string, Labels> = new Map();
  private nodes: readonly PolicyNode[] = [];
  private readonly kept = new Map<string, Kept>();
  private readonly usedBy = new Map<PolicyRules, Kept[]>();
  private made = 0;

  /** @returns the policies whose selectors select something else than before */
  follow(namespaces: ReadonlyMap<string, Labels>, nodes: readonly PolicyNode[]): Set<PolicyRules> {
    const changed = new Set<PolicyRules>();
    if (namespaces === this.namespaces && nodes === this.nodes) return changed;
    this.namespaces = namespaces;
    this.nodes = nodes;
    for (const one of this.kept.values()) {
      const values = one.select();
      if (isEqual(values, one.selection.values)) continue;
      one.selection = this.selectionOf(values);
      for (const policy of one.users) changed.add(policy);
    }
    return changed;
  }

  /** Names of the namespaces with such labels. */
  namespacesWith(selector: LabelSelector, policy: PolicyRules): Selection {
    return this.of(`namespaces ${JSON.stringify(selector)}`, policy, () => {
      const names = new Set<string>();
      for (const [name, labels] of this.namespaces) if (matchesSelector(selector, labels)) names.add(name);
      return names;
    });
  }

  /** Addresses of the nodes with such labels. */
  nodesWith(selector: LabelSelector, policy: PolicyRules): Selection {
    return this.of(`nodes ${JSON.stringify(selector)}`, policy, () => {
      const selected = this.nodes.filter(({ labels }) => matchesSelector(selector, labels));
      return new Set(selected.flatMap(({ addresses }) => addresses));
    });
  }

  /** The policy is no longer in force. */
  forget(policy: PolicyRules): void {
    for (const one of this.usedBy.get(policy) ?? []) one.users.delete(policy);
    this.usedBy.delete(policy);
  }

  get size(): number {
    return this.kept.size;
  }

  private of(key: string, policy: PolicyRules, select: () => Set<string>): Selection {
    let found = this.kept.get(key);
    if (found === undefined) {
      found = { select, selection: this.selectionOf(select()), users: new Set() };
      this.kept.set(key, found);
    }
    if (!found.users.has(policy)) {
      found.users.add(policy);
      append(this.usedBy, policy, found);
    }
    return found.selection;
  }

  private selectionOf(values: ReadonlySet<string>): Selection {
    return { number: this.made++, values };
  }
}

function isEqual(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  if (a.size !== b.size) return false;
  for (const value of a) if (!b.has(value)) return false;
  return true;
}
