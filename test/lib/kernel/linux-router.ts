/**
 * The control beside a test: a client behind a plain Linux router with nftables NAT, and a host outside. What works there
 * must work here, and with the same outcome.
 *
 *   client 10.9.0.2 ── 10.9.0.1 router 198.18.0.1 ── 198.18.0.2 host
 */
import { output, run } from '../cluster.ts';
import { addNamespaces, ip, removeNamespaces } from '../namespaces.ts';

const [ROUTER, CLIENT, HOST] = ['linux-router', 'linux-client', 'linux-host'];

export const linux = {
  router: ROUTER,
  client: CLIENT,
  host: HOST,
  clientIP: '10.9.0.2',
  /** The router's address toward the host: what masqueraded connections come from, and what is forwarded to the client. */
  routerIP: '198.18.0.1',
  hostIP: '198.18.0.2',
} as const;

/** Linux netfilter tracks a connection and translates it as an operator would write it. @param more further rules of the table */
export async function startLinuxRouter(masquerade = 'masquerade', more = ''): Promise<void> {
  await addNamespaces(ROUTER, CLIENT, HOST);
  await ip(ROUTER, 'link set lo up', `link add inside type veth peer name eth0 netns ${CLIENT}`);
  await ip(ROUTER, `link add outside type veth peer name eth0 netns ${HOST}`);
  await ip(ROUTER, 'address add 10.9.0.1/24 dev inside', `address add ${linux.routerIP}/24 dev outside`);
  await ip(ROUTER, 'link set inside up', 'link set outside up');
  for (const [netns, address, gateway] of [
    [CLIENT, linux.clientIP, '10.9.0.1'],
    [HOST, linux.hostIP, linux.routerIP],
  ] as const) {
    await ip(netns, 'link set lo up', `address add ${address}/24 dev eth0`, 'link set eth0 up');
    await ip(netns, `route add default via ${gateway}`);
  }
  await output(run(['ip', 'netns', 'exec', ROUTER, 'sysctl', '-qw', 'net.ipv4.ip_forward=1']));
  const rules = `table ip nat {
    chain in { type nat hook prerouting priority dstnat; ip daddr ${linux.routerIP} meta l4proto { tcp, udp } th dport 30000-32767 dnat to ${linux.clientIP}; }
    chain out { type nat hook postrouting priority srcnat; ip saddr ${linux.clientIP} oifname "outside" ${masquerade}; }
    ${more}
  }`;
  await output(run(['ip', 'netns', 'exec', ROUTER, 'nft', '-f', '-'], { input: rules }));
}

export const stopLinuxRouter = (): Promise<void> => removeNamespaces(ROUTER, CLIENT, HOST);
