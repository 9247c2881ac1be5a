/** From the kernel's routes and addresses: which addresses are local, and the source of masqueraded connections. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { addressWords } from '../../../../native-free-dataplane/wire/address.ts';
import { hostRoutingOf } from '../../../../src/agent/underlay/host-routes.ts';
import type { DeviceAddress, KernelRoute } from '../../../../src/linux/routing-table.ts';

const word = (ip: string): number => addressWords(ip)[3] as number;
const text = (address: number): string => [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');

const ETH0 = 2;
const ETH1 = 3;
const DP0 = 4;
const NODE = { address: word('172.18.0.11'), prefix: 24 };

function route(to: string, device: number, more: Partial<KernelRoute> = {}): KernelRoute {
  const [network = '', prefix = '32'] = to.split('/');
  const none = { priority: 0, gateway: 0, source: 0, metrics: false };
  return { table: 254, type: 1, network: word(network), prefix: Number(prefix), device, ...none, ...more };
}
const local = (ip: string, device: number): KernelRoute => route(ip, device, { table: 255, type: 2 });
const address = (ip: string, prefix: number, device: number, more: Partial<DeviceAddress> = {}): DeviceAddress => ({
  device,
  address: word(ip),
  prefix,
  scope: 0,
  secondary: false,
  ...more,
});

const ADDRESSES = [address('172.18.0.11', 24, ETH0), address('10.99.0.1', 24, ETH1), address('10.50.0.1', 16, ETH1)];

function lines(routes: KernelRoute[], addresses = ADDRESSES): string[] {
  return hostRoutingOf(routes, addresses, NODE, DP0).routes.map(
    ({ network, prefix, source }) => `${text(network)}/${prefix} ${source === undefined ? 'local' : text(source)}`,
  );
}

test('addresses of every device are local, except those of loopback and dp0', () => {
  const routes = [
    local('172.18.0.11', ETH0),
    local('10.99.0.1', ETH1),
    local('10.244.1.1', DP0),
    local('127.0.0.1', 1),
  ];
  assert.equal(lines(routes), ['172.18.0.11/32 local', '10.99.0.1/32 local']);
  const { addresses } = hostRoutingOf(routes, ADDRESSES, NODE, DP0);
  assert.equal(
    addresses.map((one) => text(one.address)),
    ['172.18.0.11', '10.99.0.1'],
  );
});

test('a whole network routed to the node itself is local', () => {
  assert.equal(lines([route('192.0.2.0/24', 1, { table: 255, type: 2 })]), ['192.0.2.0/24 local']);
});

test('the source is an address of the device, the one in the gateway’s network first', () => {
  assert.equal(lines([route('0.0.0.0/0', ETH0, { gateway: word('172.18.0.1') })]), []);
  assert.equal(lines([route('10.99.0.0/24', ETH1)]), ['10.99.0.0/24 10.99.0.1']);
  const far = route('198.51.100.0/24', ETH1, { gateway: word('10.50.0.9') });
  assert.equal(lines([far]), ['198.51.100.0/24 10.50.0.1']);
});

test('a route with the same source as the enclosing route is left out', () => {
  const routes = [
    route('10.0.0.0/8', ETH1),
    route('10.1.0.0/16', ETH1),
    route('10.1.2.0/24', ETH0),
    route('10.1.2.3/32', ETH1),
  ];
  assert.equal(lines(routes), ['10.0.0.0/8 10.99.0.1', '10.1.2.0/24 172.18.0.11', '10.1.2.3/32 10.99.0.1']);
});

test('of two routes to one network, the one with the lower metric is used', () => {
  const routes = [route('0.0.0.0/0', ETH0, { priority: 100 }), route('0.0.0.0/0', ETH1, { priority: 50 })];
  assert.equal(lines(routes), ['0.0.0.0/0 10.99.0.1']);
});

test('secondary and link-scope addresses are not used as sources; for a device without others it is the node’s address', () => {
  const addresses = [
    address('10.99.0.1', 24, ETH1, { scope: 253 }),
    address('10.99.0.2', 24, ETH1, { secondary: true }),
  ];
  assert.equal(lines([route('10.99.0.0/24', ETH1)], addresses), []);
});

test('routes of other tables and types are ignored', () => {
  assert.equal(lines([route('10.99.0.0/24', ETH1, { table: 77 }), route('10.99.0.0/24', 0, { type: 7 })]), []);
});

test('routes within the underlay network are reported, so that the shortcut leaves their packets to the kernel', () => {
  const routes = [
    route('172.18.0.0/24', ETH0),
    route('172.18.0.77/32', 0, { type: 7 }),
    route('10.1.0.0/16', ETH1),
    local('172.18.0.11', ETH0),
  ];
  const own = (all: KernelRoute[]) =>
    hostRoutingOf(all, ADDRESSES, NODE, DP0).ownRoutes.map(({ network, prefix }) => `${text(network)}/${prefix}`);
  assert.equal(own(routes), ['172.18.0.77/32']);
  assert.equal(own([route('172.18.0.0/24', ETH0, { metrics: true })]), ['172.18.0.0/24']);
});

test.run();
