/** Calls of the CNI plugin that are not as the specification has them: each error says what is wrong. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkConfig, portMappingsOf, readRequest } from '../../../../src/agent/cni/requests.ts';
import { type CniConfig, CniError } from '../../../../src/cni/protocol.ts';

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

test.run();
