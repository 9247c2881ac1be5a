/** Pseudo-terminals (pty(7), ioctl_tty(2)): a pair opened from any devpts, and its size. */
import { closeSync, constants, openSync } from 'node:fs';
import { join } from 'node:path';
import { ioctl, SystemError } from './ffi.ts';

/** linux/asm-generic/ioctls.h */
const TIOCGPTN = 0x80045430;
const TIOCSPTLCK = 0x40045431;
const TIOCSWINSZ = 0x5414;

/** The two sides of a pseudo-terminal. */
export interface Terminal {
  /** Descriptor of the side that acts as the terminal. */
  master: number;
  /** Descriptor of the side that programs use as standard input and output. */
  slave: number;
}

/** A new terminal in the devpts mounted at `directory`. The caller closes both descriptors. @throws Error */
export function openTerminal(directory: string): Terminal {
  const master = openSync(join(directory, 'ptmx'), constants.O_RDWR | constants.O_NOCTTY);
  try {
    const word = Buffer.alloc(4);
    if (ioctl(master, TIOCSPTLCK, word) !== 0) throw new SystemError('unlockpt', directory);
    if (ioctl(master, TIOCGPTN, word) !== 0) throw new SystemError('ptsname', directory);
    const slave = openSync(join(directory, String(word.readUInt32LE())), constants.O_RDWR | constants.O_NOCTTY);
    return { master, slave };
  } catch (error) {
    closeSync(master);
    throw error;
  }
}

/** struct winsize: rows, columns, and unused pixel sizes. The programs on the terminal get SIGWINCH. */
export function setTerminalSize(fd: number, columns: number, rows: number): void {
  const size = Buffer.alloc(8);
  size.writeUInt16LE(rows, 0);
  size.writeUInt16LE(columns, 2);
  ioctl(fd, TIOCSWINSZ, size);
}
