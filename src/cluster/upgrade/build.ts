/** A build of dataplane on this machine's disk: what an upgrade compares before it changes anything. */
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { commandLine } from '../../linux/processes.ts';
import { ClusterError } from '../errors.ts';

export interface Build {
  /** The folder `dist`. */
  readonly dist: string;
  /** Its program. */
  readonly main: string;
  readonly version: string;
  /** Layouts of the tables in shared memory (TABLE_LAYOUTS of native-free-dataplane/dataplane.ts). */
  readonly tables: Readonly<Record<string, number>>;
  /** The protocol of agent and standby. */
  readonly standby: number;
}

const MAIN = '/bundle/cli/main.js';

/** The program of a running agent or controller; undefined if the process has ended. */
export function programOf(pid: number): string | undefined {
  return commandLine(pid).find((argument) => argument.endsWith('/cli/main.js'));
}

/** The build that a program belongs to. @throws ClusterError UPGRADE */
export function buildOf(main: string): Build {
  const dist = main.slice(0, -MAIN.length);
  if (`${dist}${MAIN}` !== main) {
    throw new ClusterError(
      'UPGRADE',
      `${main} is not part of a bundle`,
      'only builds with dist/bundle can be upgraded',
    );
  }
  return readBuild(dist);
}

/** @param path the folder `dist` of a build, or the one above it @throws ClusterError UPGRADE */
export function readBuild(path: string): Build {
  const dist = [path, join(path, 'dist')].find((one) => existsSync(join(one, 'bundle/cli/main.js')));
  if (dist === undefined) {
    throw new ClusterError('UPGRADE', `${path} has no bundle/cli/main.js`, 'give the folder dist of a build');
  }
  try {
    const text = readFileSync(join(dist, 'bundle/build.json'), 'utf8');
    const { version, tables, standby } = JSON.parse(text) as Pick<Build, 'version' | 'tables' | 'standby'>;
    if (typeof version !== 'string' || typeof tables?.conntrack !== 'number' || typeof standby !== 'number') {
      throw new Error('a field is missing');
    }
    return { dist: realpathSync(dist), main: realpathSync(join(dist, 'bundle/cli/main.js')), version, tables, standby };
  } catch (error) {
    const why = (error as Error).message;
    throw new ClusterError('UPGRADE', `${dist}/bundle/build.json cannot be read: ${why}`, 'build it again');
  }
}

/** What the hand-over from one build to another would cost, or prevents it. */
export interface Compatibility {
  /** All tracked connections end. */
  readonly losesConnections: boolean;
  /** Tables whose copy the other build cannot read, so that it cannot run in shadow. */
  readonly unreadable: readonly string[];
  /** The other build's agent cannot take the devices over from the standby: frames are lost while it starts. */
  readonly losesFrames: boolean;
}

export function compare(from: Build, to: Build): Compatibility {
  const names = Object.keys(from.tables);
  return {
    losesConnections: from.tables.conntrack !== to.tables.conntrack,
    unreadable: names.filter((table) => from.tables[table] !== to.tables[table]),
    losesFrames: from.standby !== to.standby,
  };
}
