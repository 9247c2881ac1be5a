/** A namespace's devices, routes and neighbours, as iproute2 reports them. */
import { inside } from './netns.ts';
import { run } from './processes.ts';

/** The pod's device in every network. */
const DEVICE = 'eth0';

/** Packets the pod's device has received so far. */
export function receivedBy(netns: string): number {
  const [link] = asked<{ stats64: { rx: { packets: number } } }>(netns, '-statistics', 'link', 'show', DEVICE);
  return link!.stats64.rx.packets;
}

export interface FirstHop {
  device: string;
  sourceMac: string;
  source: string;
  /** MAC address of the gateway, or of `address` itself where that is on the link. */
  destinationMac: string;
}

/**
 * The Ethernet addresses of a frame from `netns` to `address`.
 * @throws if there is no route, or no neighbour replies
 */
export function firstHop(netns: string, address: string): FirstHop {
  const [route] = asked<{ gateway?: string; dev: string; prefsrc: string }>(netns, 'route', 'get', address);
  const { gateway = address, dev, prefsrc } = route!;
  const [link] = asked<{ address: string }>(netns, 'link', 'show', dev);
  // A ping makes the kernel resolve the neighbour; it does not matter whether it is answered.
  run(['sh', '-c', '"$@" || true', 'sh', ...inside(netns, 'ping', '-c1', '-W1', gateway)]);
  const neighbours = asked<{ dst: string; lladdr?: string }>(netns, 'neigh', 'show', 'dev', dev);
  const neighbour = neighbours.find(({ dst, lladdr }) => dst === gateway && lladdr);
  if (!neighbour) throw new Error(`${gateway} does not answer on ${dev} of ${netns}`);
  return { device: dev, sourceMac: link!.address, source: prefsrc, destinationMac: neighbour.lladdr! };
}

function asked<T>(netns: string, ...words: string[]): T[] {
  return JSON.parse(run(['ip', '-n', netns, '-json', ...words])) as T[];
}
