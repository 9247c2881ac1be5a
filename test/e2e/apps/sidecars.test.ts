/** Pods of several containers: init containers, a sidecar, a proxy, shared volumes, files about the pod. */
import * as assert from 'uvu/assert';
import { applicationSuite } from '../../lib/applications.ts';
import { eventually } from '../../lib/cluster.ts';

const { test, app } = applicationSuite('sidecars', { files: 'sidecars', programs: ['nginx|/usr/sbin/nginx'] });
const GREETER = 'http://172.18.0.12:30083';

test('the server has what an init container fetched from another service', async () => {
  assert.match(await app.page(`${GREETER}/`), /^greeter-\S+: hello from the settings\n$/);
});

test('files about the pod are projected into one volume', async () => {
  assert.match(await app.page(`${GREETER}/about/labels`), 'app="greeter"');
  assert.is(await app.page(`${GREETER}/about/team`), 'rivers');
  assert.is(await app.page(`${GREETER}/about/source`), 'hello from the settings\n');
});

test('the sidecar was up before the server, and ships its log', async () => {
  await app.page(`${GREETER}/some/path`);
  await eventually(async () =>
    (await app.logs('app=greeter', 'default', 'log-shipper')).includes(' /some/path\n') ? true : undefined,
  );
  const { items } = await app.api.list('Pod', { namespace: 'default', labelSelector: 'app=greeter' });
  for (const { status } of items) {
    const sidecar = status!.initContainerStatuses!.find(({ name }) => name === 'log-shipper')!;
    assert.ok((sidecar.state as { running?: object }).running, 'it is still running');
  }
});

test('pods are replaced without a failed request', async () => {
  await app.underLoad([{ url: `${GREETER}/`, expect: 'hello from the settings' }], () =>
    app.rollOut('Deployment', 'greeter'),
  );
});

test.run();
