/**
 * Connections that the kernel goes on translating after a takeover from kube-proxy (../takeover/): their packets are left to
 * it, in front of the rules that would move them to dp0 or past its connection tracking.
 */

const SET = 'kept';
/** A packet's fields in the order of the set's elements. */
const FIELDS = 'ip saddr . meta l4proto . th sport . ip daddr . th dport';

/**
 * While no chain of its type is there, the kernel translates nothing, not even the connections that it has translated before
 * (linux nf_nat_core.c nf_nat_unregister_fn), and while no rule asks for the state of connections it tracks none
 * (nf_conntrack_proto.c nf_ct_netns_put). kube-proxy's nftables mode may have had the only ones.
 */
const TRANSLATING = `chain translating {
    type nat hook postrouting priority 100; policy accept;
    ct state established accept
  }`;

/** The set and the rules to put in front of those of a chain, and the chain for tables of IPv4; empty without any. */
export function keptRules(kept: readonly string[]): Readonly<Record<'set' | 'rules' | 'chain', string>> {
  if (kept.length === 0) return { set: '', rules: '', chain: '' };
  const type = 'ipv4_addr . inet_proto . inet_service . ipv4_addr . inet_service';
  // A SYN opens a new connection, which is not the kernel's.
  const rules = ['tcp flags & (syn | ack) != syn', 'meta l4proto != tcp'].map(
    (one) => `${one} ${FIELDS} @${SET} accept`,
  );
  return {
    set: `set ${SET} { type ${type}; elements = { ${kept.join(', ')} } }`,
    rules: rules.map((one) => `${one}\n    `).join(''),
    chain: TRANSLATING,
  };
}
