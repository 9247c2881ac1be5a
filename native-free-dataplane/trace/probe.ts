/**
 * Where the traced build of the pipeline reports its calls. Nothing of the pipeline imports this file: the build puts
 * the calls to `probe` into copies of the sources (scripts/traced-pipeline.mjs), so a worker's pipeline has none.
 */

/** Receives every function call of the traced build, in order; calls are properly nested. */
export interface Tracer {
  /**
   * A function begins.
   * @param file,name where it is declared, e.g. `native-free-dataplane/stages/guard.ts` and `guard`
   * @param judges true if it returns a verdict
   * @param args its arguments: live objects, which change after the call
   */
  enter(file: string, name: string, judges: boolean, args: ArrayLike<unknown>): void;
  /**
   * The innermost function that is running returns.
   * @param line of the `return` that was taken, or of the closing brace
   */
  leave(line: number, result: unknown): void;
}

export const probe: {
  tracer: Tracer | undefined;
  enter(file: string, name: string, judges: boolean, args: ArrayLike<unknown>): void;
  leave<T>(line: number, result: T): T;
} = {
  tracer: undefined,
  enter: (file, name, judges, args) => probe.tracer?.enter(file, name, judges, args),
  leave: (line, result) => {
    probe.tracer?.leave(line, result);
    return result;
  },
};
