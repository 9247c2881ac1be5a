// Shifts the wall clock of a process, by the seconds in the file that CHAOS_CLOCK names. Loaded by `node --require`, so that
// a clock can jump without touching that of the machine. Monotonic clocks are left alone.
const { readFileSync } = require('node:fs');
const file = process.env.CHAOS_CLOCK;
const RealDate = Date;
let offsetMs = 0;
const read = () => {
  try {
    offsetMs = Number(readFileSync(file, 'utf8')) * 1000 || 0;
  } catch {
    offsetMs = 0;
  }
};
if (file) {
  read();
  setInterval(read, 100).unref();
  const now = () => RealDate.now() + offsetMs;
  globalThis.Date = class extends RealDate {
    constructor(...values) {
      if (values.length === 0) super(now());
      else super(...values);
    }
    static now() {
      return now();
    }
  };
}
