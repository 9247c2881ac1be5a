/** Times of the topology's last frames, for measurements: how long each took to draw, and how far apart they were. */
const KEPT = 600;

class FrameTimes {
  readonly drawMs: number[] = [];
  readonly betweenMs: number[] = [];
  private lastMs = 0;

  add(nowMs: number, drawMs: number): void {
    if (this.lastMs > 0) keep(this.betweenMs, nowMs - this.lastMs);
    this.lastMs = nowMs;
    keep(this.drawMs, drawMs);
  }
}

function keep(list: number[], value: number): void {
  list.push(value);
  if (list.length > KEPT) list.shift();
}

export const frameTimes: FrameTimes = new FrameTimes();
Object.assign(globalThis, { dataplaneFrameTimes: frameTimes });
