/**
 * Identities: classes of addresses that no policy distinguishes. Of pods: their class, and the blocks around their
 * address; of other addresses: the blocks alone. They are only added, so that what is derived from them can be extended.
 */
import { FIRST_IDENTITY } from '../../../native-free-dataplane/policies/table.ts';
import { append } from './multimap.ts';
import type { PodClass } from './pod-classes.ts';

export interface Identity {
  readonly number: number;
  /** Undefined for addresses that are no pod's. */
  readonly podClass: PodClass | undefined;
  /** Numbers of the blocks that contain the address. */
  readonly blocks: readonly number[];
}

export class Identities {
  /** In the order of their numbers. */
  readonly all: Identity[] = [];
  /** How many of them are of pods. */
  pods = 0;
  private readonly byKey = new Map<string, Identity>();
  private readonly byNamespace = new Map<string, Identity[]>();
  private readonly byBlock = new Map<number, Identity[]>();

  of(podClass: PodClass | undefined, blocks: readonly number[]): Identity {
    const key = `${podClass?.number ?? ''}|${blocks.join()}`;
    let found = this.byKey.get(key);
    if (found === undefined) {
      found = { number: FIRST_IDENTITY + this.all.length, podClass, blocks };
      this.byKey.set(key, found);
      this.all.push(found);
      for (const block of blocks) append(this.byBlock, block, found);
      if (podClass !== undefined) {
        this.pods++;
        append(this.byNamespace, podClass.namespace, found);
      }
    }
    return found;
  }

  /** The identity with this number. */
  numbered(number: number): Identity {
    return this.all[number - FIRST_IDENTITY]!;
  }

  inNamespace(namespace: string): readonly Identity[] {
    return this.byNamespace.get(namespace) ?? [];
  }

  inBlock(block: number): readonly Identity[] {
    return this.byBlock.get(block) ?? [];
  }
}
