/**
 * Reads the packets of a node that did not arrive, from its workers' rings. Reading changes nothing, so there can be any
 * number of readers; each counts what it has lost itself.
 */
import { DropRead, dropHead, readDrop } from '../../../native-free-dataplane/drops/ring.ts';
import { judgeByTable } from '../../../native-free-dataplane/policies/judge.ts';
import { type NumberedRule, readRule } from '../../../native-free-dataplane/policies/rules.ts';
import type { PolicyTable } from '../../../native-free-dataplane/policies/table.ts';
import { type DropText, dropText } from '../../../native-free-dataplane/print/drop.ts';
import {
  attachCounters,
  type Counters,
  DROP_SLOTS,
  DROP_WORDS,
} from '../../../native-free-dataplane/shared/counters.ts';
import { addressWords } from '../../../native-free-dataplane/wire/address.ts';
import { openShared, type SharedMemory } from '../../linux/shm.ts';
import { sharedInode } from '../../linux/shm-files.ts';
import { memoryName } from '../../shm-names.ts';
import { deniedDirection } from '../failures.ts';
import { NodePolicies } from '../policy/node-policies.ts';

/** Reads the rings of counters that are mapped. */
export class DropReader {
  private readonly rings: readonly Int32Array[];
  private readonly next: number[];
  private readonly copy = new Int32Array(DROP_WORDS);

  /** @param fromStart begin with the first packet that was ever noted, not with the next one */
  constructor({ drops }: Pick<Counters, 'drops'>, fromStart = false) {
    this.rings = drops;
    this.next = drops.map((ring) => (fromStart ? 0 : dropHead(ring)));
  }

  /**
   * Packets since the last call, worker by worker.
   * @param limit most that are delivered; those beyond it are counted as lost
   * @returns how many were lost because newer ones replaced them, or by the limit
   */
  read(onDrop: (drop: DropText) => void, limit: number = Number.POSITIVE_INFINITY): number {
    let lost = 0;
    let delivered = 0;
    this.rings.forEach((ring, worker) => {
      for (;;) {
        const number = this.next[worker]!;
        const head = dropHead(ring);
        if (((head - number) | 0) <= 0) return;
        const found = delivered < limit ? readDrop(ring, number, this.copy) : DropRead.OVERTAKEN;
        if (found === DropRead.FOUND) {
          this.next[worker] = (number + 1) | 0;
          delivered++;
          onDrop(dropText(this.copy));
        } else {
          // The oldest record that a writer is not about to replace.
          const oldest = delivered < limit ? (head - (DROP_SLOTS >> 1)) | 0 : head;
          const to = ((oldest - number) | 0) > 0 ? oldest : (number + 1) | 0;
          lost += (to - number) | 0;
          this.next[worker] = to;
        }
      }
    });
    return lost;
  }

  /** The packets before the read position that are still there, oldest first for each worker. */
  past(): DropText[] {
    const found: DropText[] = [];
    this.rings.forEach((ring, worker) => {
      for (let back = DROP_SLOTS; back > 0; back--) {
        const number = (this.next[worker]! - back) | 0;
        if (readDrop(ring, number, this.copy) === DropRead.FOUND) found.push(dropText(this.copy));
      }
    });
    return found;
  }
}

/**
 * The rule that denied the packet. A connection that a change of policies has closed is not judged for each of its packets:
 * for these it is the rule that denies it now.
 */
export function denyingRule(policies: PolicyTable, { verdict, packet }: DropText): NumberedRule | undefined {
  if (packet === undefined || deniedDirection(verdict) === undefined) return undefined;
  const known = readRule(policies, packet.rule);
  if (known !== undefined) return known;
  const target = packet.endpoint ?? { ip: packet.dst, port: packet.dstPort };
  const [client, server] = packet.reply
    ? [target, { ip: packet.src, port: packet.srcPort }]
    : [{ ip: packet.src, port: packet.srcPort }, target];
  const ends = { source: addressWords(client.ip), target: addressWords(server.ip) };
  return judgeByTable(policies, { ...ends, protocol: packet.protocol, port: server.port }).deniedBy;
}

/** A packet, and the policy's rule that denied it. */
export interface NodeDrop {
  readonly drop: DropText;
  readonly rule: NumberedRule | undefined;
}

/** The rings of a node of this machine. An agent that is started again has new ones, which are read from their start. */
export class NodeDrops {
  private readonly node: string;
  private memory: SharedMemory | undefined;
  private readonly policies: NodePolicies;
  private reader: DropReader | undefined;
  private inode = 0;

  constructor(node: string) {
    this.node = node;
    this.policies = new NodePolicies(node);
    this.open(false);
  }

  /** Look for new memory. @returns false if the node has been removed */
  reopen(): boolean {
    this.policies.reopen();
    return this.open(true);
  }

  private open(fromStart: boolean): boolean {
    const name = memoryName(this.node, 'counters');
    const inode = sharedInode(name);
    if (inode === this.inode) return inode !== 0;
    this.closeRings();
    this.inode = inode;
    if (inode === 0) return false;
    try {
      this.memory = openShared(name);
    } catch {
      this.inode = 0; // removed, or not complete yet: the next call tries again
      return true;
    }
    const counters = attachCounters(this.memory.buffer);
    if (counters === undefined) this.inode = 0;
    else this.reader = new DropReader(counters, fromStart);
    return true;
  }

  /** As DropReader.read. */
  read(onDrop: (drop: NodeDrop) => void): number {
    return this.reader?.read((drop) => onDrop(this.withRule(drop))) ?? 0;
  }

  past(): NodeDrop[] {
    return (this.reader?.past() ?? []).map((drop) => this.withRule(drop));
  }

  private withRule(drop: DropText): NodeDrop {
    const { table } = this.policies;
    return { drop, rule: table && denyingRule(table, drop) };
  }

  close(): void {
    this.closeRings();
    this.policies.close();
  }

  private closeRings(): void {
    this.memory?.close();
    this.memory = undefined;
    this.reader = undefined;
    this.inode = 0;
  }
}
