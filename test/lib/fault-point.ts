/** Where a faulty build of the pipeline ends: the n-th statement that is executed after `failAt(n)` throws. */

let left = 0;
let passed = 0;

/** What the pipeline throws. */
export class Fault extends Error {
  constructor() {
    super('a fault that a test asked for');
    this.name = 'Fault';
  }
}

/** Throw before the `statements`-th statement from now on; 0: never. Resets the count of those passed. */
export function failAt(statements: number): void {
  left = statements;
  passed = 0;
}

/** Statements passed since `failAt`. */
export function statementsPassed(): number {
  return passed;
}

/** Called before every statement of the code that changes shared tables (scripts/fault-points.mjs). */
export function point(): void {
  passed++;
  if (left !== 0 && --left === 0) throw new Fault();
}
