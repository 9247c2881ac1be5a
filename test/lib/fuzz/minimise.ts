/** Makes a failing input small: removes parts and lowers bytes, as long as it still fails in the same way. */

/** Upper limit of attempts, so that a slow failure is minimised in bounded time. */
const MAX_ATTEMPTS = 2000;

/**
 * Delta debugging (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", 2002), then smaller bytes.
 * @param fails does this input still fail in the same way?
 */
export async function minimise(
  input: Uint8Array,
  fails: (input: Uint8Array) => boolean | Promise<boolean>,
  maxAttempts = MAX_ATTEMPTS,
): Promise<Uint8Array> {
  let best = input;
  let attempts = 0;
  const improve = async (candidate: Uint8Array): Promise<boolean> => {
    if (attempts++ >= maxAttempts || !(await fails(candidate))) return false;
    best = candidate;
    return true;
  };
  for (let size = best.length >> 1; size >= 1; size >>= 1) {
    for (let at = 0; at < best.length && attempts < maxAttempts; ) {
      const without = new Uint8Array(best.length - Math.min(size, best.length - at));
      without.set(best.subarray(0, at));
      without.set(best.subarray(at + size), at);
      if (!(await improve(without))) at += size;
    }
  }
  for (let at = 0; at < best.length && attempts < maxAttempts; ) {
    let lowered = false;
    for (const value of [0, best[at]! >> 1, best[at]! - 1]) {
      if (lowered || value < 0 || value >= best[at]!) continue;
      const lower = best.slice();
      lower[at] = value;
      lowered = await improve(lower);
    }
    if (!lowered) at++;
  }
  return best;
}
