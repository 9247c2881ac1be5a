/**
 * The kernel's own connection tracking as a reference: a namespace with one TAP, which forwards what is written to it
 * back out of it unless nf_conntrack marks it invalid, as kube-proxy's rules do. Needs root.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, readFileSync, readSync, writeFileSync, writeSync } from 'node:fs';
import { ipBatch } from '../../../src/linux/ip-command.ts';
import { inNamespace, namespacePath } from '../../../src/linux/netns.ts';
import { openTap, type Tap } from '../../../src/linux/tap.ts';
import type { Segment } from '../tcp-script.ts';

const CLIENT = [10, 9, 0, 1] as const;
const SERVER = [10, 9, 1, 1] as const;
const SERVER_PORT = 80;
const ROUTER_MAC = '02:00:00:00:00:01';
const HOST_MAC = '02:00:00:00:00:02';

const RULES = `
table ip oracle {
  chain forward { type filter hook forward priority 0; ct state invalid drop; }
}`;

/** Settings other than the defaults: kube-proxy's two timeouts, and no checksum verification. */
const SETTINGS: Record<string, string> = {
  'net/ipv4/ip_forward': '1',
  'net/ipv4/conf/all/rp_filter': '0',
  'net/ipv4/conf/all/send_redirects': '0',
  'net/ipv4/conf/t0/send_redirects': '0',
  'net/ipv6/conf/all/disable_ipv6': '1',
  'net/netfilter/nf_conntrack_checksum': '0',
  'net/netfilter/nf_conntrack_tcp_timeout_established': '86400',
  'net/netfilter/nf_conntrack_tcp_timeout_close_wait': '3600',
};

export interface KernelView {
  passed: boolean;
  state: string;
  seconds: number;
  assured: boolean;
  seenReply: boolean;
  origin: number;
}

export class KernelConntrack {
  private readonly namespace: string;
  private readonly tap: Tap;
  private clientPort = 10_000;

  /** @throws SystemError, IpCommandError or Error if the machine lacks something (root, TUN, nft) */
  constructor(name: string) {
    this.namespace = name;
    ipBatch([`netns add ${name}`]);
    try {
      this.tap = inNamespace(namespacePath(name), () => {
        const tap = openTap({ name: 't0', queues: 1, persist: false });
        ipBatch([
          `link set t0 address ${ROUTER_MAC} up`,
          'route add 10.9.0.0/16 dev t0',
          `neighbour add ${CLIENT.join('.')} lladdr ${HOST_MAC} dev t0 nud permanent`,
          `neighbour add ${SERVER.join('.')} lladdr ${HOST_MAC} dev t0 nud permanent`,
        ]);
        run('nft', ['-f', '-'], RULES);
        for (const [path, value] of Object.entries(SETTINGS)) writeFileSync(`/proc/sys/${path}`, value);
        return tap;
      });
    } catch (error) {
      ipBatch([`netns del ${name}`], true);
      throw error;
    }
  }

  close(): void {
    for (const fd of this.tap.fds) closeSync(fd);
    ipBatch([`netns del ${this.namespace}`], true);
  }

  /** Remove all connections and start another one. */
  begin(): void {
    this.clientPort++;
    run('ip', ['netns', 'exec', this.namespace, 'conntrack', '-F'], '');
  }

  play(segment: Segment): KernelView {
    const [fd] = this.tap.fds;
    if (fd === undefined) throw new Error('the TAP has no queue');
    const frame = build(segment, this.clientPort, this.tap.headerBytes);
    while (read(fd)) {
      // Frames that the namespace sends on its own.
    }
    writeSync(fd, frame);
    let passed = false;
    for (let got = read(fd); got; got = read(fd)) if (isOurs(got, this.tap.headerBytes, this.clientPort)) passed = true;
    return { passed, ...this.entry() };
  }

  private entry(): Omit<KernelView, 'passed'> {
    const text = inNamespace(namespacePath(this.namespace), () =>
      readFileSync('/proc/thread-self/net/nf_conntrack', 'utf8'),
    );
    for (const line of text.split('\n')) {
      const match = /tcp\s+6 (\d+) (\w+) src=([\d.]+) dst=\S+ sport=(\d+) dport=(\d+)/.exec(line);
      if (!match || (match[4] !== `${this.clientPort}` && match[5] !== `${this.clientPort}`)) continue;
      return {
        state: match[2] ?? '',
        seconds: Number(match[1]),
        assured: line.includes('[ASSURED]'),
        seenReply: !line.includes('[UNREPLIED]'),
        origin: match[3] === CLIENT.join('.') ? 0 : 1,
      };
    }
    return { state: '', seconds: 0, assured: false, seenReply: false, origin: 0 };
  }
}

function run(command: string, args: string[], input: string): void {
  const result = spawnSync(command, args, { input, encoding: 'utf8' });
  if (result.error) throw result.error;
  if (result.status !== 0) throw new Error(`${command} ${args.join(' ')}: ${result.stderr}`);
}

const buffer = Buffer.alloc(70_000);

function read(fd: number): Buffer | undefined {
  try {
    return buffer.subarray(0, readSync(fd, buffer));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return undefined;
    throw error;
  }
}

function isOurs(frame: Buffer, header: number, port: number): boolean {
  if (frame.length < header + 54 || frame.readUInt16BE(header + 12) !== 0x0800 || frame[header + 23] !== 6)
    return false;
  return frame.readUInt16BE(header + 34) === port || frame.readUInt16BE(header + 36) === port;
}

function build(segment: Segment, clientPort: number, header: number): Buffer {
  const options = optionsOf(segment);
  const frame = Buffer.alloc(header + 14 + 20 + 20 + options.length + segment.payloadBytes);
  const l3 = header + 14;
  const l4 = l3 + 20;
  frame.set(macBytes(ROUTER_MAC), header);
  frame.set(macBytes(HOST_MAC), header + 6);
  frame.writeUInt16BE(0x0800, header + 12);
  frame.writeUInt8(0x45, l3);
  frame.writeUInt16BE(frame.length - l3, l3 + 2);
  frame.writeUInt8(64, l3 + 8);
  frame.writeUInt8(6, l3 + 9);
  frame.set(segment.direction === 0 ? CLIENT : SERVER, l3 + 12);
  frame.set(segment.direction === 0 ? SERVER : CLIENT, l3 + 16);
  let sum = 0;
  for (let i = 0; i < 20; i += 2) sum += frame.readUInt16BE(l3 + i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  frame.writeUInt16BE(~sum & 0xffff, l3 + 10);
  frame.writeUInt16BE(segment.direction === 0 ? clientPort : SERVER_PORT, l4);
  frame.writeUInt16BE(segment.direction === 0 ? SERVER_PORT : clientPort, l4 + 2);
  frame.writeInt32BE(segment.sequence, l4 + 4);
  frame.writeInt32BE((segment.flags & 16) !== 0 ? segment.acknowledged : 0, l4 + 8);
  frame.writeUInt8((20 + options.length) << 2, l4 + 12);
  frame.writeUInt8(segment.flags, l4 + 13);
  frame.writeUInt16BE(segment.window, l4 + 14);
  frame.set(options, l4 + 20);
  return frame;
}

function optionsOf({ flags, scale, sackPermitted, sacks }: Segment): Buffer {
  const bytes: number[] = [];
  if (scale >= 0) bytes.push(1, 3, 3, scale);
  if (sackPermitted !== 0) bytes.push(1, 1, 4, 2);
  if (sacks.length > 0) {
    bytes.push(1, 1, 5, 2 + 8 * sacks.length);
    for (const edge of sacks.flat()) bytes.push(edge >>> 24, (edge >>> 16) & 255, (edge >>> 8) & 255, edge & 255);
  }
  // In practice a SYN has some option; the kernel keeps the old ones if it has none at all.
  if ((flags & 2) !== 0 && bytes.length === 0) bytes.push(1, 1, 1, 1);
  return Buffer.from(bytes);
}

function macBytes(text: string): number[] {
  return text.split(':').map((part) => Number.parseInt(part, 16));
}
