/**
 * The program that starts containers from images, and runs programs in them: what runc is to containerd.
 *
 *   main.js start DIRECTORY                              the container whose files are in DIRECTORY
 *   main.js join DIRECTORY PID [NAME=value…] -- COMMAND…  a command in it
 *   main.js confine CONFINEMENT -- COMMAND…               a program of the host, its system calls filtered
 *
 * It ends by becoming the container's program, so Node is there for a moment only. Its own module loads everything before
 * the root changes: afterwards not even a shared library of the host could be opened.
 */
import { confine } from './confine.ts';
import { join } from './join.ts';
import { start } from './start.ts';

const [act, directory = '', ...rest] = process.argv.slice(2);
if (act === 'start') start(directory);
if (act === 'confine') confine(directory, rest.slice(1));
const end = rest.indexOf('--');
join(directory, Number(rest[0]), rest.slice(1, end), rest.slice(end + 1));
