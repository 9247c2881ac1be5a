/**
 * The parts of a running agent, in the order they were started. They are closed in reverse order, so that a part never
 * outlives one it uses. If a part fails to start, it and those before it are closed.
 */

/** A part of the agent. */
export interface Part {
  /** Resolves when later parts may rely on it. */
  start?(): void | Promise<void>;
  /** Release all resources. Also called after a `start` that failed half-way. */
  close?(): void | Promise<void>;
}

/** The parts that have been started. */
export class Parts {
  private readonly started: { readonly name: string; readonly part: Part }[] = [];

  /**
   * The parts that `compose` starts.
   * @param log called for parts that cannot be closed after another one failed
   * @throws the error of `compose`, after closing the parts that it had started
   */
  static async open(compose: (parts: Parts) => Promise<void>, log: (line: string) => void): Promise<Parts> {
    const parts = new Parts();
    try {
      await compose(parts);
      return parts;
    } catch (error) {
      await parts.close().catch((failure: Error) => log(failure.message));
      throw error;
    }
  }

  /** Names of the parts that run, in the order they were started. */
  get names(): string[] {
    return this.started.map(({ name }) => name);
  }

  /** Start a part after those already running. @throws what its `start` throws */
  async start<T extends Part>(name: string, part: T): Promise<T> {
    this.started.push({ name, part });
    await part.start?.();
    return part;
  }

  /**
   * Close all parts, the last one first; a second call does nothing.
   * @throws AggregateError of the failures, after all parts have been closed
   */
  async close(): Promise<void> {
    const failures: Error[] = [];
    for (let last = this.started.pop(); last !== undefined; last = this.started.pop()) {
      try {
        await last.part.close?.();
      } catch (error) {
        failures.push(new Error(`${last.name}: ${(error as Error).message}`, { cause: error }));
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, failures.map(({ message }) => message).join('; '));
  }
}
