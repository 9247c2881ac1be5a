/** Is a distribution even? Pearson's chi-square against equal shares. */

export function chiSquare(counts: readonly number[]): number {
  const fair = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  return counts.reduce((sum, count) => sum + (count - fair) ** 2 / fair, 0);
}

/**
 * Would a fair choice be this uneven at least once in a thousand times? Wilson and Hilferty's approximation of the
 * distribution (1931), good to a percent for two degrees of freedom and more.
 */
export function withinChance(statistic: number, freedom: number): boolean {
  const spread = 2 / (9 * freedom);
  const z = (Math.cbrt(statistic / freedom) - (1 - spread)) / Math.sqrt(spread);
  return z < 3.09;
}
