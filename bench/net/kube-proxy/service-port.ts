/** What both rule generators write rules for: one port of one Service, with its endpoints already known. */
import { createHash } from 'node:crypto';

export interface ServicePort {
  /** `namespace/service:port`, as kube-proxy names it in comments and hashes. */
  name: string;
  clusterIp: string;
  protocol: 'tcp' | 'udp';
  port: number;
  nodePort?: number;
  endpoints: { ip: string; port: number }[];
}

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** The first `length` base32 characters of the SHA-256 of `text`, as in kube-proxy's chain names (pkg/proxy/iptables/proxier.go). */
export function chainHash(text: string, length: number): string {
  const digest = createHash('sha256').update(text).digest();
  let hash = '';
  for (let bit = 0; hash.length < length; bit += 5) {
    const pair = (digest[bit >> 3]! << 8) | (digest[(bit >> 3) + 1] ?? 0);
    hash += BASE32[(pair >> (11 - (bit & 7))) & 31];
  }
  return hash;
}
