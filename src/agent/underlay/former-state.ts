/**
 * What a node's network namespace had before the agent changed it, kept in a file so that `dataplane node reset` can restore
 * it. Written before each change: a crash in between leaves an entry too many, and none too few.
 */
import { readIfPresent } from '../../linux/read-file.ts';
import { replaceFile } from '../../linux/replace-file.ts';
import type { PortRange } from '../../linux/sysctl.ts';

/** Name of the file in the node's state directory. */
export const FORMER_STATE = 'former-host.json';

export interface FormerHost {
  /** Values of settings, by their path under /proc/sys. */
  readonly sysctls: Readonly<Record<string, string>>;
  /** Ports that were not reserved. */
  readonly unreservedPorts: readonly PortRange[];
  /** Address of the name server that other firewalls' chains were made to accept; absent without one. */
  readonly nameServer?: string;
}

const NOTHING: FormerHost = { sysctls: {}, unreservedPorts: [] };

/** The file's content; empty if there is none, or it cannot be parsed. */
export function readFormerState(file: string): FormerHost {
  try {
    return { ...NOTHING, ...(JSON.parse(readIfPresent(file) ?? '{}') as Partial<FormerHost>) };
  } catch {
    return NOTHING;
  }
}

export class FormerState {
  private readonly file: string;
  private known: FormerHost;

  constructor(file: string) {
    this.file = file;
    this.known = readFormerState(file);
  }

  /** Keep the values of settings that are about to change. The first value of each stays. @throws Error of the file system */
  keepSysctls(values: Readonly<Record<string, string>>): void {
    const sysctls = { ...values, ...this.known.sysctls };
    if (Object.keys(sysctls).length > Object.keys(this.known.sysctls).length) this.write({ sysctls });
  }

  /** Keep ranges that are about to be reserved. @throws Error of the file system */
  keepUnreserved(ranges: readonly PortRange[]): void {
    const { unreservedPorts } = this.known;
    const isKnown = (range: PortRange): boolean => unreservedPorts.some((one) => `${one}` === `${range}`);
    const fresh = ranges.filter((range) => !isKnown(range));
    if (fresh.length > 0) this.write({ unreservedPorts: [...unreservedPorts, ...fresh] });
  }

  /** @throws Error of the file system */
  keepNameServer(nameServer: string | undefined): void {
    if (nameServer !== undefined && nameServer !== this.known.nameServer) this.write({ nameServer });
  }

  private write(more: Partial<FormerHost>): void {
    this.known = { ...this.known, ...more };
    replaceFile(this.file, `${JSON.stringify(this.known)}\n`);
  }
}
