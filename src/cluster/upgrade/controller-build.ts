/**
 * Which build of the controller its supervisor starts: a file of two lines, read by a shell script (controller-process.ts).
 * The first has the pid of the upgrading process and the program of the build; if that process has ended, the program in the
 * second line counts. The pid is 0 once the upgrade is done.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { readIfPresent } from '../../linux/read-file.ts';
import { replaceFile } from '../../linux/replace-file.ts';

export const CONTROLLER_BUILD = 'controller.build';

export class ControllerBuild {
  private readonly path: string;
  private readonly before: string | undefined;

  constructor(stateDir: string) {
    this.path = join(stateDir, CONTROLLER_BUILD);
    this.before = readIfPresent(this.path);
  }

  /** From the next start on, as long as this process lives. @param former the program of the running build */
  tryOut(main: string, former: string): void {
    replaceFile(this.path, `${process.pid} ${main}\n${former}\n`);
  }

  /** The upgrade is done. */
  settle(main: string): void {
    replaceFile(this.path, `0 ${main}\n`);
  }

  /** As it was before. */
  restore(): void {
    if (this.before === undefined) rmSync(this.path, { force: true });
    else replaceFile(this.path, this.before);
  }
}
