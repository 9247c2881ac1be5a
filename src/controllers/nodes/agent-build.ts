/**
 * Which build runs a node's agent. Normally that of the controller; while `dataplane upgrade` moves the nodes one by one, a
 * file in the node's directory assigns another. It is valid as long as the upgrading process lives: if that ends early,
 * however it ends, the node returns to the controller's build.
 */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { isAlive, type ProcessMark } from '../../linux/processes.ts';
import { replaceFile } from '../../linux/replace-file.ts';

interface Assignment {
  /** The build's program. */
  readonly main: string;
  /** The upgrading process. */
  readonly by: ProcessMark;
}

export class AgentBuilds {
  private readonly path: string;

  constructor(stateDir: string, node: string) {
    this.path = join(stateDir, 'nodes', node, 'build.json');
  }

  /** Assign a build from the agent's next start on. @throws Error of the file system */
  assign(assignment: Assignment): void {
    replaceFile(this.path, `${JSON.stringify(assignment)}\n`);
  }

  /** From its next start on the agent is of the controller's build. */
  withdraw(): void {
    rmSync(this.path, { force: true });
  }

  /** The program that the agent is to be started with; undefined: the controller's own. */
  assigned(): string | undefined {
    const found = this.read();
    return found !== undefined && isAlive(found.by) ? found.main : undefined;
  }

  /** Has the upgrading process ended and left an assignment? It is withdrawn then. */
  isAbandoned(): boolean {
    const found = this.read();
    if (found === undefined || isAlive(found.by)) return false;
    this.withdraw();
    return true;
  }

  private read(): Assignment | undefined {
    try {
      return JSON.parse(readFileSync(this.path, 'utf8')) as Assignment;
    } catch {
      return undefined;
    }
  }
}
