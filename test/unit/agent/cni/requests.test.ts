/** Calls of the CNI plugin that are not as the specification has them: each error says what is wrong. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  addressWanted,
  bandwidthOf,
  checkConfig,
  macWanted,
  portMappingsOf,
  readRequest,
} from '../../../../src/agent/cni/requests.ts';
import { type CniConfig, CniError, type CniRequest } from '../../../../src/cni/protocol.ts';

function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    assert.instance(error, CniError);
    return (error as CniError).message;
  }
  return '';
}

const config = (portMappings: unknown): CniConfig =>
  ({ cniVersion: '1.0.0', name: 'net', runtimeConfig: { portMappings } }) as unknown as CniConfig;

test('every variable of the environment is a text', () => {
  const text = JSON.stringify({ environment: { CNI_ARGS: [[]] }, config: {} });
  assert.is(
    refusal(() => readRequest(text)),
    'CNI_ARGS [[]]: expected a text',
  );
});

test('a version of any type is refused by name', () => {
  const wrong = { ...config([]), cniVersion: { toString: 1 } } as unknown as CniConfig;
  assert.is(
    refusal(() => checkConfig(wrong)),
    'cniVersion {"toString":1} is not supported',
  );
});

test('port mappings are a list of objects with ports, a protocol and an address', () => {
  for (const mappings of [
    'x',
    { a: 1 },
    [null],
    [7],
    [{ hostPort: 1 }],
    [{ hostPort: 1, containerPort: 2, protocol: 7 }],
  ]) {
    assert.match(
      refusal(() => portMappingsOf(config(mappings))),
      /^portMappings .*: expected /,
      JSON.stringify(mappings),
    );
  }
  assert.match(
    refusal(() => portMappingsOf(config([{ hostPort: 1, containerPort: 2, hostIP: 3 }]))),
    'expected an address',
  );
  assert.equal(
    portMappingsOf(
      config([
        { hostPort: 0, containerPort: 80 },
        { hostPort: 1, containerPort: 2 },
      ]),
    ),
    [{ hostPort: 1, containerPort: 2, protocol: 'TCP' }],
  );
});

const withCapabilities = (runtimeConfig: object): CniConfig =>
  ({ cniVersion: '1.0.0', name: 'net', runtimeConfig }) as unknown as CniConfig;

test('a MAC address is one of a single device; bandwidths are numbers of bits a second', () => {
  assert.is(macWanted(withCapabilities({ mac: '02:00:5E:10:00:0a' })), '02:00:5e:10:00:0a');
  for (const mac of ['01:00:5e:00:00:01', '00:00:00:00:00:00', '02:00:5e:10:00', 7, {}]) {
    assert.match(
      refusal(() => macWanted(withCapabilities({ mac }))),
      /^mac .*: expected a unicast address/,
    );
  }
  assert.equal(bandwidthOf(withCapabilities({ bandwidth: { ingressRate: 1e6, egressBurst: 5 } })), {
    ingress: 1e6,
    egress: 0,
  });
  assert.is(bandwidthOf(withCapabilities({ bandwidth: { ingressRate: 0 } })), undefined);
  for (const bandwidth of [
    7,
    [],
    { ingressRate: '1M' },
    { egressRate: 999 },
    { egressRate: 1e16 },
    { ingressRate: -1 },
  ]) {
    assert.match(
      refusal(() => bandwidthOf(withCapabilities({ bandwidth }))),
      /^bandwidth.*: expected bits a second/,
    );
  }
});

test("a pod has one address: that of the IPAM plugin, else the runtime's choice", () => {
  const request = (ips: unknown, assigned?: object) =>
    ({ environment: {}, config: withCapabilities({ ips }), ...(assigned && { assigned }) }) as unknown as CniRequest;
  assert.is(addressWanted(request([])), undefined);
  assert.is(addressWanted(request(['10.244.1.5/24'])), '10.244.1.5');
  assert.is(addressWanted(request(['10.244.1.5'], { ips: [{ address: '10.244.1.6/24' }] })), '10.244.1.6');
  for (const wrong of [
    request(['10.244.1.5', '10.244.1.6']),
    request([7]),
    request([], {}),
    request([], { ips: 7 }),
    request([], { ips: [null] }),
  ]) {
    assert.match(
      refusal(() => addressWanted(wrong)),
      /^(ips|ipam)/,
      JSON.stringify(wrong),
    );
  }
});

test.run();
