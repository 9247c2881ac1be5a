/** How much of the machine's processors is not in use. */
import { cpus } from 'node:os';

export class SpareTime {
  private last = times();

  /** Share of their time since the last call in which the processors had nothing to do but work of low priority. */
  share(): number {
    const now = times();
    const [spare, all] = [now.spare - this.last.spare, now.all - this.last.all];
    this.last = now;
    return all > 0 ? spare / all : 0;
  }
}

function times(): { spare: number; all: number } {
  let [spare, all] = [0, 0];
  for (const { times: each } of cpus()) {
    spare += each.idle + each.nice;
    all += each.idle + each.nice + each.user + each.sys + each.irq;
  }
  return { spare, all };
}
