/**
 * Gives memory back to the kernel that a process needed to start: free blocks of the C library's allocator, and the pages of
 * its program that are only mapped because code near them ran once (a fault maps sixteen pages; linux mm/filemap.c
 * filemap_map_pages). What is needed again is mapped again from the page cache, a microsecond a fault.
 */
import { readFileSync } from 'node:fs';
import koffi from 'koffi';

const libc = koffi.load('libc.so.6');

const MADV_DONTNEED = 4;

/** Of /proc/self/smaps: a mapping of this program that is never written, and how much of it differs from the file. */
const UNWRITTEN = /^([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ \S+ +(\/.*)\n(?:\w+: .*\n)*?Anonymous: +(\d+) kB/gm;

/** Takes some milliseconds. Does what the C library and the kernel offer, and no more. */
export function giveBackMemory(): void {
  try {
    const trim = libc.func('int malloc_trim(size_t kept)') as (kept: number) => number;
    trim(0);
    const advise = libc.func('int madvise(uintptr_t at, size_t bytes, int advice)') as (
      at: number,
      bytes: number,
      advice: number,
    ) => number;
    for (const [, first, end, path, changed] of readFileSync('/proc/self/smaps', 'latin1').matchAll(UNWRITTEN)) {
      // Pages that differ, such as those that the dynamic linker has relocated, would be lost.
      if (path !== process.execPath || changed !== '0') continue;
      const at = Number.parseInt(first!, 16);
      advise(at, Number.parseInt(end!, 16) - at, MADV_DONTNEED);
    }
  } catch {
    // Another C library has no malloc_trim, and a kernel may show no smaps: then the memory is kept.
  }
}
