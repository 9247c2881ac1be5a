/** The policy table of a node of this machine, whose rules are named in what readers show. */
import { attachPolicies, type PolicyTable } from '../../../native-free-dataplane/policies/table.ts';
import { openShared, type SharedMemory } from '../../linux/shm.ts';
import { sharedInode } from '../../linux/shm-files.ts';
import { memoryName } from '../../shm-names.ts';

/** Follows the node's memory: an agent that is started again may create another. */
export class NodePolicies {
  private readonly name: string;
  private memory: SharedMemory | undefined;
  private inode = 0;
  private attached: PolicyTable | undefined;

  constructor(node: string) {
    this.name = memoryName(node, 'policies');
    this.reopen();
  }

  /** Undefined: rules have no names, because there is no table, or one of another version. */
  get table(): PolicyTable | undefined {
    return this.attached;
  }

  /** Look for new memory. */
  reopen(): void {
    const inode = sharedInode(this.name);
    if (inode === this.inode || inode === 0) return;
    let memory: SharedMemory;
    try {
      memory = openShared(this.name);
    } catch {
      return; // removed, or not complete yet: the next call tries again
    }
    this.close();
    this.memory = memory;
    this.attached = attachPolicies(memory.buffer);
    this.inode = inode;
  }

  close(): void {
    this.memory?.close();
    this.memory = undefined;
    this.attached = undefined;
    this.inode = 0;
  }
}
