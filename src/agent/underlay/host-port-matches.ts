/** nft matches of packets to host ports. */
import type { RoutedPort } from './host-options.ts';
import { portRuns } from './host-rules.ts';

/** Matches for packets to these ports. @param addresses the node's addresses, on which ports without hostIP are open */
export function hostPortMatches(ports: readonly RoutedPort[], addresses: readonly string[]): string[] {
  const byPlace = new Map<string, string[]>();
  for (const {
    protocol,
    address,
    ports: [first, last],
  } of portRuns(ports)) {
    if (address !== undefined && !addresses.includes(address)) continue;
    const place = `ip daddr { ${address ?? addresses.join(', ')} } meta l4proto ${protocol}`;
    byPlace.set(place, [...(byPlace.get(place) ?? []), first === last ? `${first}` : `${first}-${last}`]);
  }
  return [...byPlace].map(([place, runs]) => `${place} th dport { ${runs.join(', ')} }`);
}
