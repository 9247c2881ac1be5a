/** From the kernel's routes and addresses: which addresses are local, and the source of masqueraded connections. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { addressWords } from '../../../../native-free-dataplane/wire/address.ts';
import { hostRoutingOf } from '../../../../src/agent/underlay/host-routes.ts';
import type { DeviceAddress, KernelRoute, KernelRule } from '../../../../src/linux/routing-table.ts';

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
  peer: word(ip),
  prefix,
  scope: 0,
  secondary: false,
  ...more,
});

const ADDRESSES = [address('172.18.0.11', 24, ETH0), address('10.99.0.1', 24, ETH1), address('10.50.0.1', 16, ETH1)];

function lines(routes: KernelRoute[], addresses = ADDRESSES, rules?: KernelRule[]): string[] {
  return hostRoutingOf(routes, addresses, NODE, DP0, rules).routes.map(
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

test('of several addresses of a device, the source is the one in the destination’s network, or whose peer it is', () => {
  const addresses = [
    address('10.99.0.1', 24, ETH1),
    address('10.50.0.1', 16, ETH1),
    address('10.98.0.1', 32, ETH1, { peer: word('10.98.0.2') }),
  ];
  const routes = [route('10.50.0.0/16', ETH1), route('10.98.0.2/32', ETH1), route('10.97.0.0/16', ETH1)];
  assert.equal(lines(routes, addresses), [
    '10.50.0.0/16 10.50.0.1',
    '10.97.0.0/16 10.99.0.1',
    '10.98.0.2/32 10.98.0.1',
  ]);
});

const rule = (table: number, more: Partial<KernelRule> = {}): KernelRule => ({
  table,
  to: undefined,
  from: undefined,
  mark: 0,
  maskedMark: 0,
  suppressed: -1,
  inverted: false,
  conditional: false,
  ...more,
});
const MAIN = rule(254);
const IN_MAIN = [route('0.0.0.0/0', ETH0, { gateway: word('172.18.0.1') }), route('10.50.0.0/16', ETH0)];
const VPN = route('0.0.0.0/0', ETH1, { table: 77 });

test('a rule for a destination selects its table for that destination alone', () => {
  const rules = [rule(77, { to: { network: word('192.0.2.0'), prefix: 24 } }), MAIN];
  assert.equal(lines([...IN_MAIN, VPN], ADDRESSES, rules), ['192.0.2.0/24 10.99.0.1']);
  const outside = route('10.50.0.0/16', ETH1, { table: 77 });
  assert.equal(lines([...IN_MAIN, outside], ADDRESSES, rules), [], 'a route outside of the destination');
});

test('a full-tunnel VPN (wg-quick): everything but the main table’s longer routes leaves by its device', () => {
  const rules = [rule(254, { suppressed: 0 }), rule(77, { mark: 51_820, maskedMark: -1, inverted: true }), MAIN];
  assert.equal(lines([...IN_MAIN, VPN], ADDRESSES, rules), ['0.0.0.0/0 10.99.0.1', '10.50.0.0/16 172.18.0.11']);
});

test('a table that is looked up first hides routes of later ones, also longer ones', () => {
  assert.equal(lines([...IN_MAIN, VPN], ADDRESSES, [rule(77), MAIN]), ['0.0.0.0/0 10.99.0.1']);
  assert.equal(lines([...IN_MAIN, VPN], ADDRESSES, [MAIN, rule(77)]), []);
});

test('rules that do not apply to masqueraded packets are ignored: marks, sources, ports, other devices', () => {
  const others = [{ mark: 1, maskedMark: 1 }, { conditional: true }, { from: 'eth1' }, { inverted: true }];
  for (const more of others) {
    assert.equal(lines([...IN_MAIN, VPN], ADDRESSES, [rule(77, more), MAIN]), [], JSON.stringify(more));
  }
  for (const more of [{ mark: 2, maskedMark: 1 }, { from: 'dp0' }]) {
    assert.equal(lines([...IN_MAIN, VPN], ADDRESSES, [rule(77, more), MAIN]), ['0.0.0.0/0 10.99.0.1']);
  }
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
