/** The checks of `why` that read the API's objects alone. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { EndpointSlice, NodeObject, Pod, Service } from '../../../../src/api/types/objects.ts';
import { checkNode, checkPod, whyNotReady } from '../../../../src/observe/why/pod-checks.ts';
import { checkEndpoints, findPort, findService } from '../../../../src/observe/why/service-checks.ts';

const test = suite('checks of why');

const service = (name: string, spec: object = {}, namespace = 'default') =>
  ({ metadata: { name, namespace }, spec: { ports: [{ port: 80, targetPort: 8080 }], ...spec } }) as unknown as Service;
const pod = (name: string, status: object = {}, labels: object = {}) =>
  ({
    metadata: { name, namespace: 'default', labels },
    spec: { nodeName: 'n1', containers: [] },
    status,
  }) as unknown as Pod;
const READY = { phase: 'Running', podIP: '10.244.1.2', conditions: [{ type: 'Ready', status: 'True' }] };

test('a node that is not Ready is named with its reason', () => {
  const node = (status: string, message: string) =>
    ({
      metadata: { name: 'n1' },
      status: { conditions: [{ type: 'Ready', status, message }] },
    }) as unknown as NodeObject;
  assert.equal(checkNode([node('False', 'a firewall drops UDP 4789.')], 'n1')[0], {
    name: 'node',
    ok: false,
    text: 'node n1 is not Ready: a firewall drops UDP 4789',
  });
  assert.ok(checkNode([node('True', '')], 'n1')[0]!.ok);
  assert.equal(checkNode([], 'n1'), []);
});

test('a pod that does not run is named with what its containers wait for', () => {
  const waiting = {
    phase: 'Pending',
    containerStatuses: [{ name: 'web', state: { waiting: { reason: 'ErrImagePull' } } }],
  };
  assert.is(
    checkPod(pod('a', waiting), 'a', 'default').text,
    'pod default/a is Pending: container web waits: ErrImagePull',
  );
  assert.is(checkPod(undefined, 'a', 'x').text, 'there is no pod a in namespace x');
  assert.ok(checkPod(pod('a', READY), 'a', 'default').ok);
  const ended = { containerStatuses: [{ name: 'web', state: { terminated: { exitCode: 3 } } }] };
  assert.is(whyNotReady(pod('a', ended)), 'container web exited with status 3');
  const probed = { containerStatuses: [{ name: 'web', ready: false, state: { running: {} } }] };
  assert.is(whyNotReady(pod('a', probed)), 'container web is not ready (see its readiness probe)');
});

test('services and their ports: the nearest name, the other namespace, the port that is missing', () => {
  const all = [service('web'), service('cart', {}, 'shop')];
  assert.is(
    findService(all, 'wbe', 'default').check.text,
    'there is no service wbe in namespace default: did you mean web?',
  );
  assert.match(findService(all, 'cart', 'default').check.text, /it is in shop, so use cart\.shop$/);
  assert.is(findPort(service('web'), '81', 'TCP').check.text, 'service web has no port 81/TCP: it has 80');
  const two = service('web', {
    ports: [
      { name: 'a', port: 1 },
      { name: 'b', port: 2 },
    ],
  });
  assert.is(findPort(two, undefined, 'TCP').check.text, 'service web has 2 TCP ports (1 (a), 2 (b)): name one');
});

test('endpoints: no selector, no pod, a pod that is not ready, a port that none names', () => {
  const text = (spec: object, pods: Pod[], slices: EndpointSlice[] = []) => {
    const one = service('web', spec);
    return checkEndpoints(one, one.spec.ports![0]!, slices, pods).text;
  };
  assert.match(text({}, []), /it has no selector/);
  assert.match(
    text({ selector: { app: 'a' } }, [pod('p', READY, { app: 'b' })]),
    /has the labels app=a \(pod p has app=b\)$/,
  );
  assert.match(
    text({ selector: { app: 'a' } }, [pod('p', { phase: 'Pending' }, { app: 'a' })]),
    /pod p matches but is not Ready: it is Pending$/,
  );
  const named = { selector: { app: 'a' }, ports: [{ port: 80, targetPort: 'http' }] };
  assert.match(
    text(named, [pod('p', READY, { app: 'a' })]),
    /its targetPort is "http", and no container of its pods names a port so$/,
  );
  const slice = {
    metadata: { name: 's', namespace: 'default', labels: { 'kubernetes.io/service-name': 'web' } },
    ports: [{ port: 8080 }],
    endpoints: [{ addresses: ['10.244.1.2'], conditions: { ready: true } }],
  } as unknown as EndpointSlice;
  assert.is(text({ selector: { app: 'a' } }, [], [slice]), '1 ready: 10.244.1.2');
});

test.run();
