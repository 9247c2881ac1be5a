/**
 * A node has more than one address: second addresses and cards, sockets bound to any of them, services' addresses on a
 * device. Whatever works on a node with flannel and kube-proxy works here, also when addresses come and go.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type Cluster,
  eventually,
  nodeNetns,
  output,
  podNetns,
  processPod,
  run,
  startCluster,
} from '../lib/cluster.ts';
import { linux, startLinuxRouter, stopLinuxRouter } from '../lib/kernel/linux-router.ts';

/** Answers with the address of whom it talks to. */
const PEER = `require('http').createServer((q, r) => r.end(q.socket.remoteAddress)).listen({ port: +process.env.PORT || 80, host: process.env.HOST || '0.0.0.0' })`;
const NODE_PORT = 31080;
const BALANCER = '203.0.113.200';
const SECOND_CARD = '192.168.99.1';
const BEHIND = 'dp-behind';

const web = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web', namespace: 'default' },
  spec: {
    type: 'NodePort',
    selector: { app: 'web' },
    ports: [{ port: 80, nodePort: NODE_PORT }],
    externalIPs: [BALANCER],
  },
};
const manifests = [
  processPod('web', 'n2', [process.execPath, '-e', PEER]),
  processPod('client', 'n1', ['sleep', 'infinity']),
  web,
];

const N1 = nodeNetns('n1');
const CLIENT = podNetns('client');

async function podIP(cluster: Cluster, name: string): Promise<string> {
  return (await cluster.get<{ status: { podIP: string } }>('pod', name)).status.podIP;
}

/** A server inside a namespace that answers with its peer's address; resolves when it listens. */
async function serve(cluster: Cluster, netns: string, host: string, port: number): Promise<void> {
  cluster.start(netns, ['env', `HOST=${host}`, `PORT=${port}`, process.execPath, '-e', PEER]);
  await eventually(async () => {
    const { stdout } = await cluster.exec(netns, ['ss', '-Hltn', `src ${host}:${port}`]);
    return stdout.includes(`:${port}`) || undefined;
  });
}

async function ip(cluster: Cluster, netns: string, ...args: string[]): Promise<void> {
  await output(cluster.exec(netns, ['ip', ...args]));
}

async function pings(cluster: Cluster, from: string, ...args: string[]): Promise<void> {
  await output(cluster.exec(from, ['ping', '-c', '2', '-i', '0.2', '-W', '2', ...args]));
}

/** A host behind a second card of the node, in a network of its own. */
async function secondCard(cluster: Cluster): Promise<void> {
  await output(run(['ip', 'netns', 'add', BEHIND]));
  await ip(cluster, BEHIND, 'link', 'set', 'lo', 'up');
  await ip(cluster, N1, 'link', 'add', 'eth1', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', BEHIND);
  await ip(cluster, N1, 'address', 'add', `${SECOND_CARD}/24`, 'dev', 'eth1');
  await ip(cluster, N1, 'link', 'set', 'eth1', 'up');
  await ip(cluster, BEHIND, 'address', 'add', '192.168.99.2/24', 'dev', 'eth0');
  await ip(cluster, BEHIND, 'link', 'set', 'eth0', 'up');
}

for (const overlay of ['vxlan', 'host-gw', 'ipip']) {
  const args = ['--nodes', '2', '--overlay', overlay, '--external-ip-cidr', `${BALANCER}/32`];
  const test = suite(`addresses of a node, ${overlay}`);
  let cluster: Cluster;

  test('the cluster is up', async () => {
    cluster = await startCluster({ args, manifests });
  });

  test('a socket bound to the node’s address reaches pods of other nodes: connects, pings, UDP', async () => {
    const web = await podIP(cluster, 'web');
    const seen = await cluster.fetch(N1, `http://${web}/`, '--interface', '172.18.0.11');
    assert.is(seen.replace('::ffff:', ''), '10.244.1.1', 'as with flannel: the node’s gateway');
    await pings(cluster, N1, '-I', '172.18.0.11', web);
  });

  if (overlay === 'vxlan') {
    test('a pod connects to a second address of its own node, which sees the pod as its peer', async () => {
      await ip(cluster, N1, 'address', 'add', '172.18.0.50/24', 'dev', 'eth0');
      await serve(cluster, N1, '172.18.0.50', 6443);
      for (const from of [CLIENT, podNetns('web'), 'dp-outside', nodeNetns('n2'), N1]) {
        const fetch = () => cluster.fetch(from, 'http://172.18.0.50:6443/');
        // The agent learns of the address by netlink; until then it is an address outside, toward which pods are masqueraded.
        if (from === CLIENT) {
          const pod = await podIP(cluster, 'client');
          await eventually(async () => ((await fetch()) === pod ? true : undefined), 2000);
        }
        const seen = await eventually(fetch);
        if (from === 'dp-outside') assert.is(seen, '172.18.0.1');
        // Linux talks to its second addresses from the first of their network.
        if (from === N1) assert.is(seen, '172.18.0.11');
      }
      await pings(cluster, CLIENT, '172.18.0.50');
    });

    test('NodePorts are served on the second address, from everywhere', async () => {
      for (const from of [CLIENT, podNetns('web'), 'dp-outside', nodeNetns('n2'), N1]) {
        await cluster.fetch(from, `http://172.18.0.50:${NODE_PORT}/`);
      }
    });

    test('an address that goes is no longer the node’s, one that comes back is', async () => {
      await ip(cluster, N1, 'address', 'del', '172.18.0.50/24', 'dev', 'eth0');
      await eventually(async () => {
        const { stdout } = await cluster.exec(N1, ['ip', 'rule', 'show']);
        return stdout.includes('172.18.0.50') ? undefined : true;
      }, 2000);
      await ip(cluster, nodeNetns('n2'), 'address', 'add', '172.18.0.50/24', 'dev', 'eth0');
      await serve(cluster, nodeNetns('n2'), '172.18.0.50', 6444);
      const seen = await eventually(() => cluster.fetch(CLIENT, 'http://172.18.0.50:6444/'));
      assert.is(seen, '172.18.0.11', 'masqueraded: it is another machine now');
      await ip(cluster, nodeNetns('n2'), 'address', 'del', '172.18.0.50/24', 'dev', 'eth0');
    });

    test('a host behind the node’s second card sees that card’s address', async () => {
      await secondCard(cluster);
      await serve(cluster, BEHIND, '192.168.99.2', 80);
      assert.is(await eventually(() => cluster.fetch(CLIENT, 'http://192.168.99.2/')), SECOND_CARD);
      await pings(cluster, CLIENT, '192.168.99.2');
      // The control: a plain Linux router in the client's place.
      await output(
        cluster.exec(N1, [
          'nft',
          'add table ip control; add chain ip control out { type nat hook postrouting priority srcnat; }; add rule ip control out ip saddr 192.168.98.2 masquerade',
        ]),
      );
      await output(run(['ip', 'netns', 'add', 'dp-control']));
      await ip(cluster, N1, 'link', 'add', 'ctl', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', 'dp-control');
      await ip(cluster, N1, 'address', 'add', '192.168.98.1/24', 'dev', 'ctl');
      await ip(cluster, N1, 'link', 'set', 'ctl', 'up');
      await ip(cluster, 'dp-control', 'address', 'add', '192.168.98.2/24', 'dev', 'eth0');
      await ip(cluster, 'dp-control', 'link', 'set', 'eth0', 'up');
      await ip(cluster, 'dp-control', 'route', 'add', 'default', 'via', '192.168.98.1');
      assert.is(await cluster.fetch('dp-control', 'http://192.168.99.2/'), SECOND_CARD);
      await output(cluster.exec(N1, ['nft', 'delete', 'table', 'ip', 'control']));
    });

    test('what leaves by a route over the second card is masqueraded to it', async () => {
      await ip(cluster, BEHIND, 'address', 'add', '192.0.2.7/32', 'dev', 'lo');
      await ip(cluster, N1, 'route', 'add', '192.0.2.0/24', 'via', '192.168.99.2');
      await serve(cluster, BEHIND, '192.0.2.7', 81);
      const seen = await eventually(async () => {
        const peer = await cluster.fetch(CLIENT, 'http://192.0.2.7:81/');
        return peer === SECOND_CARD ? peer : undefined;
      });
      assert.is(seen, SECOND_CARD);
    });

    test('policy routing: by a VPN for everything, or for one network, pods leave with the address that the node has there', async () => {
      const VPN_HOST = '192.0.2.99';
      await ip(cluster, BEHIND, 'address', 'add', `${VPN_HOST}/32`, 'dev', 'lo');
      await serve(cluster, BEHIND, VPN_HOST, 82);
      await ip(cluster, N1, 'route', 'del', '192.0.2.0/24');
      await ip(cluster, N1, 'route', 'add', 'default', 'via', '192.168.99.2', 'table', '51820');
      const seen = (from: string) => cluster.fetch(from, `http://${VPN_HOST}:82/`, '--max-time', '1');
      for (const rules of [
        // As wg-quick sets them for a peer with AllowedIPs 0.0.0.0/0.
        ['not fwmark 51820 table 51820 pref 32765', 'table main suppress_prefixlength 0 pref 32764'],
        [`to ${VPN_HOST} table 51820 pref 1000`],
      ]) {
        for (const rule of rules) await ip(cluster, N1, 'rule', 'add', ...rule.split(' '));
        assert.is(await eventually(() => seen(N1)), SECOND_CARD, 'the node itself is the control');
        assert.is(await eventually(() => seen(CLIENT), 3000), SECOND_CARD, rules[0]);
        // Traffic of the cluster is as before.
        await cluster.fetch('dp-outside', `http://172.18.0.11:${NODE_PORT}/`);
        await pings(cluster, CLIENT, '172.18.0.1');
        for (const rule of rules) await ip(cluster, N1, 'rule', 'del', ...rule.split(' '));
      }
      await ip(cluster, N1, 'route', 'flush', 'table', '51820');
    });

    test('an address on loopback, as routers have, is the node’s: its servers, its NodePorts', async () => {
      const LOOPBACK = '10.55.0.1';
      await ip(cluster, N1, 'address', 'add', `${LOOPBACK}/32`, 'dev', 'lo');
      for (const netns of ['dp-outside', nodeNetns('n2')]) {
        await ip(cluster, netns, 'route', 'add', LOOPBACK, 'via', '172.18.0.11');
      }
      await serve(cluster, N1, LOOPBACK, 179);
      for (const from of [CLIENT, podNetns('web'), 'dp-outside', nodeNetns('n2'), N1]) {
        for (const port of [179, NODE_PORT]) {
          await eventually(() => cluster.fetch(from, `http://${LOOPBACK}:${port}/`, '--max-time', '1'), 4000);
        }
      }
    });

    test('a service’s external address that is configured on a device is served to all', async () => {
      await ip(cluster, N1, 'address', 'add', `${BALANCER}/32`, 'dev', 'eth0');
      for (const from of ['dp-outside', N1]) await eventually(() => cluster.fetch(from, `http://${BALANCER}/`), 2000);
      for (const from of [N1, CLIENT, podNetns('web'), nodeNetns('n2')]) {
        const { status, stderr } = await cluster.exec(from, ['curl', '-sS', '--max-time', '5', `http://${BALANCER}/`]);
        assert.is(status, 0, `${from}: ${stderr}`);
      }
      // Its other ports are the node's own.
      await serve(cluster, N1, BALANCER, 2222);
      assert.is(await cluster.fetch(CLIENT, `http://${BALANCER}:2222/`), await podIP(cluster, 'client'));
    });

    test('the control: a second address of a plain Linux router, and one that it balances itself', async () => {
      const [SECOND, VIRTUAL] = ['198.18.0.50', '198.18.0.60'];
      await startLinuxRouter();
      for (const address of [`${SECOND}/24`, `${VIRTUAL}/32`]) {
        await ip(cluster, linux.router, 'address', 'add', address, 'dev', 'outside');
      }
      await serve(cluster, linux.router, SECOND, 6443);
      const seen = (from: string) => cluster.fetch(from, `http://${SECOND}:6443/`);
      assert.is(await seen(linux.client), linux.clientIP, 'the true peer');
      assert.is(await seen(linux.host), linux.hostIP);
      assert.is(await seen(linux.router), linux.routerIP, 'from the first address of the network');
      await serve(cluster, linux.client, '0.0.0.0', 80);
      const rule = `ip daddr ${VIRTUAL} tcp dport 80 dnat to ${linux.clientIP}`;
      const rules = `table ip balancer { chain in { type nat hook prerouting priority dstnat; ${rule}; }; chain out { type nat hook output priority -100; ${rule}; }; chain post { type nat hook postrouting priority srcnat; ip saddr ${linux.clientIP} ip daddr ${linux.clientIP} masquerade; }; }`;
      await output(cluster.exec(linux.router, ['nft', '-f', '-'], { input: rules }));
      for (const from of [linux.host, linux.router, linux.client]) await cluster.fetch(from, `http://${VIRTUAL}/`);
      await serve(cluster, linux.router, VIRTUAL, 2222);
      assert.is(await cluster.fetch(linux.client, `http://${VIRTUAL}:2222/`), linux.clientIP);
      await stopLinuxRouter();
    });

    test('a server of the node inside the NodePort range, without a Service, sees its true peer', async () => {
      for (const [host, from, peer] of [
        ['127.0.0.1', N1, '127.0.0.1'],
        ['172.18.0.11', N1, '172.18.0.11'],
        ['172.18.0.11', 'dp-outside', '172.18.0.1'],
        ['172.18.0.11', CLIENT, await podIP(cluster, 'client')],
      ] as const) {
        if (from === N1) await serve(cluster, N1, host, 32100);
        assert.is(await cluster.fetch(from, `http://${host}:32100/`), peer, `${host} from ${from}`);
      }
    });
  }

  test('the cluster is down, and nothing is left', async () => cluster.down());

  test.run();
}
