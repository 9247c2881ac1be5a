/**
 * Runs a new build in shadow: the running build takes a snapshot of the nodes' tables and records the frames from that moment on;
 * both builds then process these frames, each over its own copy of the tables, in a process of its own. What differs is
 * reported: a verdict, a frame that is sent, or an offload field of one. The new build sees no device and no live table.
 */
import { type ExecFileException, execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ClusterError } from '../errors.ts';
import type { Build } from './build.ts';

/** Limits of what a shadow costs: frames, memory of the replay, time per frame at most a millisecond. */
const MAX_FRAMES = 50_000;
const MAX_HEAP_MB = 2048;
const REPLAY_MS = 120_000;
/** For taking the snapshot, beside the time that is recorded. */
const SNAPSHOT_MS = 30_000;
const MAX_OUTPUT_BYTES = 4_000_000;

/** A packet with which the new build does something else. */
interface ShadowDifference {
  readonly node: string;
  readonly packet: string;
  /** What the new build does. */
  readonly expected: { readonly verdict: string };
  /** What the running build does. */
  readonly actual: { readonly verdict: string };
}

export interface ShadowReport {
  /** Frames that both builds have processed. */
  readonly compared: number;
  readonly different: number;
  /** The first of them. */
  readonly differences: readonly ShadowDifference[];
}

/**
 * @param seconds how long frames are recorded
 * @throws ClusterError UPGRADE if a build fails or does not end, or the abort's reason
 */
export async function runShadow(from: Build, to: Build, seconds: number, signal: AbortSignal): Promise<ShadowReport> {
  const directory = mkdtempSync(join(tmpdir(), 'dataplane-upgrade-'));
  const [snapshot, capture] = [join(directory, 'snapshot'), join(directory, 'frames.pcapng')];
  try {
    const recorded = ['--capture', capture, '--duration', `${seconds}s`, '--count', String(MAX_FRAMES)];
    const took = await program([from.main, 'snapshot', snapshot, ...recorded], seconds * 1000 + SNAPSHOT_MS, signal);
    if (took.status !== 0) throw new ClusterError('UPGRADE', `no frames could be recorded: ${took.why}`);
    const limit = `--max-old-space-size=${MAX_HEAP_MB}`;
    const replay = [limit, from.main, 'replay', snapshot, capture, '--diff', to.dist, '-o', 'json'];
    const { status, stdout, why } = await program(replay, REPLAY_MS, signal);
    // Status 1 with a report: something differs.
    if (!stdout.startsWith('{')) {
      throw new ClusterError('UPGRADE', `${to.dist} fails in shadow: ${why || `it ended with status ${status}`}`);
    }
    const { compared, different, differences } = JSON.parse(stdout) as ShadowReport;
    return { compared, different, differences };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

interface Ended {
  readonly status: number;
  readonly stdout: string;
  /** The last line that it wrote to stderr, or that it took too long. */
  readonly why: string;
}

async function program(args: readonly string[], timeoutMs: number, signal: AbortSignal): Promise<Ended> {
  const limits = { timeout: timeoutMs, killSignal: 'SIGKILL', maxBuffer: MAX_OUTPUT_BYTES, signal } as const;
  try {
    const { stdout } = await promisify(execFile)(process.execPath, args, { ...limits, cwd: '/' });
    return { status: 0, stdout, why: '' };
  } catch (error) {
    signal.throwIfAborted();
    const { code, killed, signal: by, stdout = '', stderr = '', message } = error as ExecFileException;
    // The code is a text if there was no process, or too much output.
    if (typeof code === 'string') return { status: 128, stdout: '', why: message };
    const last = stderr.trim().split('\n').at(-1) ?? '';
    const why = killed ? `it did not end within ${timeoutMs / 1000} s` : by ? `ended by ${by}` : last;
    return { status: code ?? 128, stdout, why };
  }
}
