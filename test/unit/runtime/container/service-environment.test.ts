import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Pod, Service } from '../../../../src/api/types/objects.ts';
import { serviceEnvironment } from '../../../../src/runtime/container/service-environment.ts';

const pod = (namespace: string, spec: object = {}): Pod =>
  ({ metadata: { name: 'p', namespace }, spec }) as unknown as Pod;
const service = (namespace: string, name: string, clusterIP: string | undefined, ports: object[]): Service =>
  ({ metadata: { name, namespace }, spec: { clusterIP, ports } }) as unknown as Service;

const KUBERNETES = service('default', 'kubernetes', '10.96.0.1', [{ name: 'https', port: 443, protocol: 'TCP' }]);
const REDIS = service('shop', 'redis-master', '10.96.4.4', [{ port: 6379 }]);
const DNS = service('shop', 'dns', '10.96.4.5', [
  { name: 'dns', port: 53, protocol: 'UDP' },
  { name: 'dns-tcp', port: 53, protocol: 'TCP' },
]);

test('a Service of the pod’s namespace has kubelet’s variables, with dashes as underscores', () => {
  assert.equal(Object.fromEntries(serviceEnvironment(pod('shop'), [REDIS])), {
    REDIS_MASTER_SERVICE_HOST: '10.96.4.4',
    REDIS_MASTER_SERVICE_PORT: '6379',
    REDIS_MASTER_PORT: 'tcp://10.96.4.4:6379',
    REDIS_MASTER_PORT_6379_TCP: 'tcp://10.96.4.4:6379',
    REDIS_MASTER_PORT_6379_TCP_PROTO: 'tcp',
    REDIS_MASTER_PORT_6379_TCP_PORT: '6379',
    REDIS_MASTER_PORT_6379_TCP_ADDR: '10.96.4.4',
  });
});

test('named ports have a variable each; the first port is the plain one', () => {
  const env = serviceEnvironment(pod('shop'), [DNS]);
  assert.is(env.get('DNS_SERVICE_PORT'), '53');
  assert.is(env.get('DNS_SERVICE_PORT_DNS_TCP'), '53');
  assert.is(env.get('DNS_PORT'), 'udp://10.96.4.5:53');
  assert.is(env.get('DNS_PORT_53_TCP'), 'tcp://10.96.4.5:53');
});

test('the API’s variables are in every namespace, even without service links; others only in their own', () => {
  const env = serviceEnvironment(pod('other', { enableServiceLinks: false }), [KUBERNETES, REDIS]);
  assert.is(env.get('KUBERNETES_SERVICE_HOST'), '10.96.0.1');
  assert.is(env.get('KUBERNETES_SERVICE_PORT_HTTPS'), '443');
  assert.not.ok(env.has('REDIS_MASTER_SERVICE_HOST'));
  assert.not.ok(serviceEnvironment(pod('shop', { enableServiceLinks: false }), [REDIS]).size);
});

test('a Service named kubernetes in the pod’s own namespace takes precedence over the API’s, in any order', () => {
  const own = service('shop', 'kubernetes', '10.96.7.7', [{ port: 1 }]);
  for (const services of [
    [KUBERNETES, own],
    [own, KUBERNETES],
  ]) {
    assert.is(serviceEnvironment(pod('shop'), services).get('KUBERNETES_SERVICE_HOST'), '10.96.7.7');
  }
});

test('headless Services, those without an address and without ports have none', () => {
  const none = [
    service('shop', 'a', 'None', [{ port: 1 }]),
    service('shop', 'b', undefined, [{ port: 1 }]),
    service('shop', 'c', '10.96.1.1', []),
  ];
  assert.is(serviceEnvironment(pod('shop'), none).size, 0);
});

test.run();
