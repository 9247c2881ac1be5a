/** Local ports of the sockets in the calling thread's network namespace, as /proc/net shows them. */
import { readFileSync } from 'node:fs';

const FILES: readonly string[] = ['tcp', 'tcp6', 'udp', 'udp6'];
/** `sl: local_address:port`, addresses in words of the host's byte order (linux net/ipv4/tcp_ipv4.c get_tcp4_sock). */
const LOCAL = /^ *\d+: ([0-9A-F]+):([0-9A-F]{4}) /gm;
/** 127.0.0.0/8 and ::1, on a little-endian machine. */
const LOOPBACK = /^(?:[0-9A-F]{6}7F|0{24}01000000|0{16}FFFF0000[0-9A-F]{6}7F)$/;

/** Local ports of TCP and UDP sockets. */
export interface LocalPorts {
  /** Of sockets with loopback's addresses. */
  readonly loopback: ReadonlySet<number>;
  /** Of all others. */
  readonly open: ReadonlySet<number>;
}

/** Read the local ports. A protocol that the kernel lacks has none. */
export function localPorts(): LocalPorts {
  const [loopback, open] = [new Set<number>(), new Set<number>()];
  for (const file of FILES) {
    for (const [, address = '', port = ''] of read(file).matchAll(LOCAL)) {
      (LOOPBACK.test(address) ? loopback : open).add(Number.parseInt(port, 16));
    }
  }
  return { loopback, open };
}

function read(file: string): string {
  try {
    return readFileSync(`/proc/thread-self/net/${file}`, 'latin1');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
