/** Which identities the peers of a rule are. Sets are kept, and extended when identities are added. */
import { type Labels, matchesSelector } from '../../api/selectors.ts';
import type { LabelSelector } from '../../api/types/objects.ts';
import { printCidr } from '../../net/address.ts';
import type { Block } from './address-blocks.ts';
import type { Identities, Identity } from './identities.ts';
import type { PolicyPeer, PolicyRules } from './policy-rules.ts';

export interface PeerSet {
  /** Numbers of identities. */
  readonly members: ReadonlySet<number>;
}

export interface PeerNames {
  /** Labels of namespaces, by name. */
  readonly namespaces: ReadonlyMap<string, Labels>;
  readonly identities: Identities;
  /** Number of a block. */
  blockNumber(block: Block): number;
  /** Numbers of the blocks that hold one address of a node with such labels each. */
  nodeBlocks(nodes: LabelSelector): readonly number[];
}

/** Peers as they are compared with an identity. */
type Matcher =
  | { readonly namespaces: ReadonlySet<string>; readonly pods: LabelSelector }
  | { readonly blocks: readonly number[] };

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
  private readonly names: PeerNames;
  private readonly byKey = new Map<string, GrowingSet>();
  private readonly namespaceSets = new Map<string, ReadonlySet<string>>();
  private upTo = 0;

  constructor(names: PeerNames) {
    this.names = names;
  }

  /** @param policy whose rule has these peers */
  of(policy: PolicyRules, peers: readonly PolicyPeer[]): PeerSet {
    const key = peers.map((peer) => keyOf(peer, policy.namespace)).join(' ');
    let found = this.byKey.get(key);
    if (found === undefined) {
      const matchers = peers.map((peer) => this.matcherOf(peer, policy.namespace));
      found = new GrowingSet(matchers, this.names.identities);
      this.byKey.set(key, found);
    }
    return found;
  }

  /** Enter the identities that were added since the last call. */
  extend(): void {
    const { all } = this.names.identities;
    for (; this.upTo < all.length; this.upTo++) {
      const identity = all[this.upTo]!;
      for (const set of this.byKey.values()) set.add(identity);
    }
  }

  /** Names of the namespaces with such labels. */
  namespacesWith(selector: LabelSelector): ReadonlySet<string> {
    const key = JSON.stringify(selector);
    let found = this.namespaceSets.get(key);
    if (found === undefined) {
      const all = [...this.names.namespaces];
      found = new Set(all.filter(([, labels]) => matchesSelector(selector, labels)).map(([name]) => name));
      this.namespaceSets.set(key, found);
    }
    return found;
  }

  private matcherOf(peer: PolicyPeer, own: string | undefined): Matcher {
    switch (peer.kind) {
      case 'block':
        return { blocks: [this.names.blockNumber(peer)] };
      case 'nodes':
        return { blocks: this.names.nodeBlocks(peer.nodes) };
      default: {
        const { namespaces, pods } = peer;
        return { namespaces: namespaces === undefined ? new Set([own ?? '']) : this.namespacesWith(namespaces), pods };
      }
    }
  }
}

function keyOf(peer: PolicyPeer, own: string | undefined): string {
  switch (peer.kind) {
    case 'block':
      return [peer.block, ...peer.except].map(printCidr).join('!');
    case 'nodes':
      return `nodes ${JSON.stringify(peer.nodes)}`;
    default:
      return JSON.stringify([peer.namespaces ?? own, peer.pods]);
  }
}
