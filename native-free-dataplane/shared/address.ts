/**
 * IP addresses as packets and tables hold them: four int32 words, an IPv4 address mapped (0, 0, 0xffff, a.b.c.d). One
 * form for both families, so that code which compares, copies or classifies addresses exists once.
 *
 * IPv6 only has to add a branch to `scopeOf` for addresses that are not mapped (RFC 4291 §2.4). See RFC 4291 §2.5.5.2
 * (mapped addresses), RFC 6890 (special-purpose addresses).
 */
export const ADDRESS_WORDS = 4;

/** Third word of a mapped IPv4 address; the two before it are 0. */
const IPV4_MAPPED = 0xffff;

/** Does the address at words[at] equal `address`? The last word differs most often, so it is compared first. */
export function sameAddress(address: Int32Array, words: Int32Array, at: number): boolean {
  return (
    address[3] === words[at + 3] &&
    address[2] === words[at + 2] &&
    address[1] === words[at + 1] &&
    address[0] === words[at]
  );
}

/** Copy the address at from[at] into `into`. */
export function copyAddress(from: Int32Array, at: number, into: Int32Array): void {
  into[0] = from[at];
  into[1] = from[at + 1];
  into[2] = from[at + 2];
  into[3] = from[at + 3];
}

/** Write the mapped form of an IPv4 address to `into`. @param word int32 */
export function mapIpv4(word: number, into: Int32Array): void {
  into[0] = 0;
  into[1] = 0;
  into[2] = IPV4_MAPPED;
  into[3] = word;
}

/** Is a mapped IPv4 address link-local, 169.254.0.0/16 (RFC 3927)? */
export function isLinkLocal(address: Int32Array): boolean {
  return address[3] >>> 16 === 0xa9fe;
}

/** What an address may be used for. */
export const Scope = {
  UNICAST: 0,
  /** 127.0.0.0/8 (RFC 1122 §3.2.1.3 (g)). */
  LOOPBACK: 1,
  /** "This host" and "this network", 0.0.0.0/8 (RFC 1122 §3.2.1.3 (a), (b)). */
  UNSPECIFIED: 2,
  /** 224.0.0.0/4 (RFC 5771). */
  MULTICAST: 3,
  /** 240.0.0.0/4 (RFC 1112 §4). */
  RESERVED: 4,
  /** 255.255.255.255 (RFC 919 §7). */
  BROADCAST: 5,
} as const;
export type Scope = (typeof Scope)[keyof typeof Scope];

/** The scope of a mapped IPv4 address. */
export function scopeOf(address: Int32Array): Scope {
  const first = address[3] >>> 24;
  if (first < 224) {
    if (first === 127) return Scope.LOOPBACK;
    return first === 0 ? Scope.UNSPECIFIED : Scope.UNICAST;
  }
  if (first < 240) return Scope.MULTICAST;
  return address[3] === -1 ? Scope.BROADCAST : Scope.RESERVED;
}
