/**
 * The kernel's own NAT as a reference: a namespace with the role of our node toward its pods and the outside, with
 * nftables rules equivalent to kube-proxy's. One TAP toward the pods, one toward the underlay. Needs root.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, readFileSync, readSync, writeFileSync, writeSync } from 'node:fs';
import { ipBatch } from '../../../src/linux/ip-command.ts';
import { inNamespace, namespacePath } from '../../../src/linux/netns.ts';
import { OffloadLevel, openTap, type Tap } from '../../../src/linux/tap.ts';
import { concat, ethernetFrame, viewOf } from '../frames/frame-builder.ts';
import { packet } from '../frames/frame-text.ts';

/** Where a packet enters or leaves: a pod, or everything else. */
export type Side = 'a' | 'b' | 'host';

export interface Out {
  side: Side;
  /** The IPv4 packet. */
  bytes: Uint8Array;
}

const GATEWAY_MAC = '0a:58:0a:f4:01:01';
const NODE_MAC = '02:00:00:00:00:11';
const ROUTER_MAC = '02:00:00:00:00:09';
const MACS: Readonly<Record<Side, string>> = {
  a: '0a:58:0a:f4:01:02',
  b: '0a:58:0a:f4:01:03',
  host: ROUTER_MAC,
};

/** A connection as the kernel reports it. */
export interface KernelEntry {
  protocol: number;
  state: string;
  seconds: number;
  seenReply: boolean;
  assured: boolean;
}

/**
 * A pod's service, the same through the node's port, and all pods masqueraded behind the node. The node itself sends
 * nothing.
 */
const RULES = `
table ip node {
  chain prerouting {
    type nat hook prerouting priority dstnat;
    ip daddr 10.96.0.10 tcp dport 80 dnat to 10.244.1.3:8080
    ip daddr 10.96.0.10 udp dport 80 dnat to 10.244.1.3:8080
    ip daddr 172.18.0.11 tcp dport 31418 meta mark set 0x4000 dnat to 10.244.1.3:8080
    ip daddr 172.18.0.11 udp dport 31418 meta mark set 0x4000 dnat to 10.244.1.3:8080
  }
  chain postrouting {
    type nat hook postrouting priority srcnat;
    meta mark 0x4000 masquerade
    oifname tu ip saddr 10.244.0.0/16 meta l4proto { tcp, udp } th sport 1-1023 masquerade to :600-1023
    oifname tu ip saddr 10.244.0.0/16 meta l4proto { tcp, udp } masquerade to :32768-49151
    oifname tu ip saddr 10.244.0.0/16 masquerade
  }
  chain forward { type filter hook forward priority 0; ct state invalid drop; }
  chain output { type filter hook output priority 0; policy drop; }
}`;

const SETTINGS: Readonly<Record<string, string>> = {
  'net/ipv4/ip_forward': '1',
  'net/ipv4/conf/all/rp_filter': '0',
  'net/ipv4/conf/tp/rp_filter': '0',
  'net/ipv4/conf/tu/rp_filter': '0',
  'net/ipv4/conf/all/send_redirects': '0',
  'net/ipv4/conf/tp/send_redirects': '0',
  'net/ipv6/conf/all/disable_ipv6': '1',
  // Incomplete datagrams are kept for 30 s.
  'net/ipv4/ipfrag_high_thresh': '268435456',
  'net/netfilter/nf_conntrack_tcp_timeout_established': '86400',
  'net/netfilter/nf_conntrack_tcp_timeout_close_wait': '3600',
};

/** An untranslated datagram sent after each packet: once it is out, the packet has been processed. */
const MARKER_ID = 0xbeef;
const MARKER: Uint8Array = packet('udp 10.244.1.2:9 > 10.244.1.3:9 len 1', { id: MARKER_ID });

export class KernelNat {
  private readonly namespace: string;
  private readonly pods: Tap;
  private readonly underlay: Tap;
  private readonly buffer = Buffer.alloc(70_000);

  /** @throws SystemError, IpCommandError or Error if the machine lacks something (root, TUN, nft) */
  constructor(name: string) {
    this.namespace = name;
    ipBatch([`netns add ${name}`]);
    try {
      [this.pods, this.underlay] = inNamespace(namespacePath(name), () => {
        const options = { queues: 1, persist: false, offloads: OffloadLevel.NONE };
        const taps = [openTap({ ...options, name: 'tp' }), openTap({ ...options, name: 'tu' })] as const;
        ipBatch([
          'link set lo up',
          `link set tp address ${GATEWAY_MAC} mtu 1450 up`,
          `link set tu address ${NODE_MAC} up`,
          'address add 10.244.1.1/24 dev tp',
          'address add 172.18.0.11/24 dev tu',
          'route add default via 172.18.0.1 dev tu',
          `neighbour add 10.244.1.2 lladdr ${MACS.a} dev tp nud permanent`,
          `neighbour add 10.244.1.3 lladdr ${MACS.b} dev tp nud permanent`,
          `neighbour add 172.18.0.1 lladdr ${ROUTER_MAC} dev tu nud permanent`,
        ]);
        this.run('nft', ['-f', '-'], RULES);
        for (const [path, value] of Object.entries(SETTINGS)) writeFileSync(`/proc/sys/${path}`, value);
        return taps;
      });
    } catch (error) {
      ipBatch([`netns del ${name}`], true);
      throw error;
    }
  }

  close(): void {
    for (const fd of [...this.pods.fds, ...this.underlay.fds]) closeSync(fd);
    ipBatch([`netns del ${this.namespace}`], true);
  }

  /** Remove all connections. */
  flush(): void {
    this.run('ip', ['netns', 'exec', this.namespace, 'conntrack', '-F'], '');
  }

  /** The connections from one address to another, by their original direction. */
  entries(src: string, dst: string): KernelEntry[] {
    const text = inNamespace(namespacePath(this.namespace), () =>
      readFileSync('/proc/thread-self/net/nf_conntrack', 'utf8'),
    );
    return text.split('\n').flatMap((line) => {
      const match = /^ipv4\s+2 \S+\s+(\d+) (\d+) ([A-Z_]*) ?src=(\S+) dst=(\S+)/.exec(line);
      if (!match || match[4] !== src || match[5] !== dst) return [];
      const [seenReply, assured] = [!line.includes('[UNREPLIED]'), line.includes('[ASSURED]')];
      return [{ protocol: Number(match[1]), seconds: Number(match[2]), state: match[3] ?? '', seenReply, assured }];
    });
  }

  /** Deliver an IPv4 packet; returns the resulting output. */
  send(side: Side, bytes: Uint8Array): Out[] {
    this.write(side, bytes);
    this.write('a', MARKER);
    const out: Out[] = [];
    for (const end = Date.now() + 2000; ; ) {
      for (let got = this.read(this.underlay); got; got = this.read(this.underlay)) out.push(got);
      let marked = false;
      for (let got = this.read(this.pods); got; got = this.read(this.pods)) {
        if (viewOf(got.bytes).getUint16(4) === MARKER_ID && got.bytes.length === MARKER.length) marked = true;
        else out.push(got);
      }
      if (marked) return out;
      if (Date.now() > end) throw new Error('the kernel does not forward any more');
    }
  }

  private write(side: Side, bytes: Uint8Array): void {
    const tap = side === 'host' ? this.underlay : this.pods;
    const frame = ethernetFrame(MACS[side], side === 'host' ? NODE_MAC : GATEWAY_MAC, 0x0800, bytes);
    writeSync(tap.fds[0]!, concat(new Uint8Array(tap.headerBytes), frame));
  }

  /** The next IPv4 packet sent to one of our sides. */
  private read(tap: Tap): Out | undefined {
    for (;;) {
      let length: number;
      try {
        length = readSync(tap.fds[0]!, this.buffer);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return undefined;
        throw error;
      }
      const frame = Uint8Array.from(this.buffer.subarray(tap.headerBytes, length));
      const view = viewOf(frame);
      if (view.getUint16(12) !== 0x0800) continue;
      const end = 14 + view.getUint16(16);
      const side = tap === this.underlay ? 'host' : view.getUint8(5) === 2 ? 'a' : 'b';
      return { side, bytes: frame.subarray(14, end) };
    }
  }

  private run(command: string, args: string[], input: string): void {
    const result = spawnSync(command, args, { input, encoding: 'utf8' });
    if (result.error) throw result.error;
    if (result.status !== 0) throw new Error(`${command} ${args.join(' ')}: ${result.stderr}`);
  }
}
