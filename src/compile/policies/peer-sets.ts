/** Which identities the peers of a rule are. Sets are kept, and extended when identities are added. */
import { matchesSelector } from '../../api/selectors.ts';
import type { LabelSelector } from '../../api/types/objects.ts';
import { parseIp, rangeOf } from '../../net/address.ts';
import type { Block } from './address-blocks.ts';
import type { Identities, Identity } from './identities.ts';
import { append } from './multimap.ts';
import type { NameSelections } from './name-selections.ts';
import type { PolicyPeer, PolicyRules } from './policy-rules.ts';

export interface PeerSet {
  /** Numbers of identities. */
  readonly members: ReadonlySet<number>;
}

export interface PeerNames {
  readonly names: NameSelections;
  readonly identities: Identities;
  /** Number of a block. */
  blockNumber(block: Block): number;
}

/** Peers as they are compared with an identity; equal ones have the same key. */
type Matcher = { readonly key: string } & (
  | { readonly namespaces: ReadonlySet<string>; readonly pods: LabelSelector }
  | { readonly blocks: readonly number[] }
);

class GrowingSet implements PeerSet {
  readonly members = new Set<number>();
  readonly matchers: readonly Matcher[];

  constructor(matchers: readonly Matcher[], identities: Identities) {
    this.matchers = matchers;
    for (const matcher of matchers) {
      const candidates =
        'blocks' in matcher
          ? matcher.blocks.map((block) => identities.inBlock(block))
          : [...matcher.namespaces].map((namespace) => identities.inNamespace(namespace));
      for (const list of candidates) for (const identity of list) this.addIf(matcher, identity);
    }
  }

  add(identity: Identity): void {
    for (const matcher of this.matchers) this.addIf(matcher, identity);
  }

  private addIf(matcher: Matcher, { number, podClass, blocks }: Identity): void {
    const matches =
      'blocks' in matcher
        ? matcher.blocks.some((block) => blocks.includes(block))
        : podClass !== undefined &&
          matcher.namespaces.has(podClass.namespace) &&
          matchesSelector(matcher.pods, podClass.labels);
    if (matches) this.members.add(number);
  }
}

export class PeerSets {
  private readonly from: PeerNames;
  private readonly byKey = new Map<string, GrowingSet>();
  /** The sets that an identity of a namespace, or in a block, may belong to. */
  private readonly byNamespace = new Map<string, GrowingSet[]>();
  private readonly byBlock = new Map<number, GrowingSet[]>();
  private upTo = 0;

  constructor(from: PeerNames) {
    this.from = from;
  }

  get size(): number {
    return this.byKey.size;
  }

  /** @param policy whose rule has these peers */
  of(policy: PolicyRules, peers: readonly PolicyPeer[]): PeerSet {
    const matchers = peers.map((peer) => this.matcherOf(peer, policy));
    const key = matchers.map((matcher) => matcher.key).join(' ');
    let found = this.byKey.get(key);
    if (found === undefined) {
      found = new GrowingSet(matchers, this.from.identities);
      this.byKey.set(key, found);
      this.register(found);
    }
    return found;
  }

  private register(set: GrowingSet): void {
    for (const matcher of set.matchers) {
      if ('blocks' in matcher) for (const block of matcher.blocks) append(this.byBlock, block, set);
      else for (const namespace of matcher.namespaces) append(this.byNamespace, namespace, set);
    }
  }

  /** Enter the identities that were added since the last call. */
  extend(): void {
    const { all } = this.from.identities;
    for (; this.upTo < all.length; this.upTo++) {
      const identity = all[this.upTo]!;
      const { podClass, blocks } = identity;
      if (podClass !== undefined) for (const set of this.byNamespace.get(podClass.namespace) ?? []) set.add(identity);
      for (const block of blocks) for (const set of this.byBlock.get(block) ?? []) set.add(identity);
    }
  }

  private matcherOf(peer: PolicyPeer, policy: PolicyRules): Matcher {
    const { names } = this.from;
    switch (peer.kind) {
      case 'block': {
        const number = this.from.blockNumber(peer);
        return { key: `block ${number}`, blocks: [number] };
      }
      case 'nodes': {
        const blocks = [...names.nodesWith(peer.nodes, policy).values].flatMap((text) => this.blockOfAddress(text));
        return { key: `blocks ${blocks.join()}`, blocks };
      }
      default: {
        const { namespaces, pods } = peer;
        if (namespaces === undefined) {
          const own = policy.namespace ?? '';
          return { key: JSON.stringify([own, pods]), namespaces: new Set([own]), pods };
        }
        const { number, values } = names.namespacesWith(namespaces, policy);
        return { key: JSON.stringify([number, pods]), namespaces: values, pods };
      }
    }
  }

  private blockOfAddress(text: string): number[] {
    const ip = parseIp(text);
    if (ip === undefined) return [];
    const block = { ...rangeOf(ip), prefix: ip.family === 4 ? 32 : 128 };
    return [this.from.blockNumber({ kind: 'block', block, except: [] })];
  }
}
