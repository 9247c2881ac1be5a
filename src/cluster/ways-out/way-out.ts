/**
 * `up --egress`: what the host reaches, pods reach. slirp4netns has a TAP device in `dp-outside` and makes each connection
 * again from a socket of the host, as any program of the host would: no address, route or rule of the host is changed. The
 * host's own loopback stays out of reach.
 *
 * The controller runs it, and starts it again when it ends. A killed controller leaves it running, with its connections; the
 * next one takes it over.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { findProgram } from '../../linux/find-program.ts';
import { namespacePath } from '../../linux/netns.ts';
import { isAlive, type ProcessMark, signalProcess } from '../../linux/processes.ts';
import { replaceFile } from '../../linux/replace-file.ts';
import { OUTSIDE } from '../network-namespaces.ts';
import { markOf, STATE_DIR } from '../state.ts';
import { WAY_OUT_DEVICE } from './unroutable.ts';

const WAY_OUT_PROGRAM = 'slirp4netns';
/** slirp4netns passes queries to this address on to the name server of the host. */
export const WAY_OUT_NAME_SERVER = '10.0.2.3';
const MARK = join(STATE_DIR, 'egress.json');
const LOOK_MS = 500;
const RETRY_MS = [200, 1000, 5000];

/** Why there can be no way out on this machine; undefined if there can. */
export function whyNoWayOut(): string | undefined {
  for (const [program, debianPackage] of [
    [WAY_OUT_PROGRAM, WAY_OUT_PROGRAM],
    ['nft', 'nftables'],
  ] as const) {
    if (findProgram(program) === undefined) return `it needs the program ${program} (apt install ${debianPackage})`;
  }
  return undefined;
}

/** The process of the way out, also one that has ended. */
export function wayOutMark(): ProcessMark | undefined {
  try {
    return JSON.parse(readFileSync(MARK, 'utf8')) as ProcessMark;
  } catch {
    return undefined;
  }
}

/** Keeps the way out open. @returns closes it */
export function keepWayOut(log: (line: string) => void): () => void {
  let mark = wayOutMark();
  let attempts = 0;
  let timer: NodeJS.Timeout;
  const look = (): void => {
    if (isAlive(mark)) {
      attempts = 0;
      timer = setTimeout(look, LOOK_MS);
      return;
    }
    if (mark !== undefined) log(`egress: ${WAY_OUT_PROGRAM} (pid ${mark.pid}) has ended; starting it again`);
    mark = start(log);
    timer = setTimeout(look, RETRY_MS[Math.min(attempts++, RETRY_MS.length - 1)]);
  };
  look();
  return () => {
    clearTimeout(timer);
    if (mark !== undefined && isAlive(mark)) signalProcess(mark, 'SIGTERM');
  };
}

function start(log: (line: string) => void): ProcessMark | undefined {
  const args = ['--netns-type=path', '--configure', '--mtu=1500', '--disable-host-loopback', '--enable-seccomp'];
  // Its own session and no pipes: it outlives the controller.
  const child = spawn(WAY_OUT_PROGRAM, [...args, namespacePath(OUTSIDE), WAY_OUT_DEVICE], {
    detached: true,
    stdio: 'ignore',
    cwd: '/',
  });
  child.on('error', (error) => log(`egress: ${error.message}`));
  if (child.pid === undefined) return undefined;
  child.unref();
  const mark = markOf(child.pid);
  replaceFile(MARK, JSON.stringify(mark));
  return mark;
}
