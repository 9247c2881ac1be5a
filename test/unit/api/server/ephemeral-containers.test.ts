/** pods/ephemeralcontainers: containers are added to a pod there and nowhere else, and stay as they are. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Pod, Status } from '../../../../src/api/types/objects.ts';
import { getJson, pod, refusal, request, withCluster } from '../../controllers/test-cluster.ts';

const PATH = '/api/v1/namespaces/default/pods/a/ephemeralcontainers';
const STRATEGIC = 'application/strategic-merge-patch+json';
const added = (...containers: object[]) => ({ spec: { ephemeralContainers: containers } });

test(
  'a strategic patch adds a container with its defaults, and changes nothing else',
  withCluster(async ({ client, socketPath }) => {
    const before = await client.create(pod('a', { app: 'a' }));
    const change = added({ name: 'debugger', image: 'busybox', targetContainerName: 'c', stdin: true, tty: true });
    const smuggled = { ...change, spec: { ...change.spec, terminationGracePeriodSeconds: 1 } };
    const answer = await request(socketPath, 'PATCH', PATH, smuggled, STRATEGIC);
    assert.is(answer.status, 200, answer.body);
    const after = await client.get('Pod', 'a', 'default');
    assert.equal(after.spec.ephemeralContainers, [
      {
        name: 'debugger',
        image: 'busybox',
        targetContainerName: 'c',
        stdin: true,
        tty: true,
        imagePullPolicy: 'Always',
        resources: {},
        terminationMessagePath: '/dev/termination-log',
        terminationMessagePolicy: 'File',
      },
    ]);
    const { ephemeralContainers: _, ...rest } = after.spec;
    assert.equal(rest, before.spec);
    assert.is(after.metadata.generation, 2);
    assert.equal(await getJson<Pod>(socketPath, PATH), after);
  }),
);

test(
  'containers that were added can be neither changed nor removed',
  withCluster(async ({ client, socketPath }) => {
    await client.create(pod('a'));
    await request(socketPath, 'PATCH', PATH, added({ name: 'one', image: 'busybox' }), STRATEGIC);
    const now = await client.get('Pod', 'a', 'default');
    const put = async (containers: object[]) => {
      const body = { ...now, spec: { ...now.spec, ephemeralContainers: containers } };
      const answer = await request(socketPath, 'PUT', PATH, body);
      return answer.status === 200 ? 'accepted' : (JSON.parse(answer.body) as Status).message!;
    };
    const [one] = now.spec.ephemeralContainers!;
    assert.match(await put([]), 'existing ephemeral containers "one" may not be removed');
    assert.match(await put([{ ...one, image: 'other' }]), 'existing ephemeral containers "one" may not be changed');
    assert.is(await put([one!, { name: 'two', image: 'busybox' }]), 'accepted');
  }),
);

test(
  'what an ephemeral container cannot have is refused, with the field',
  withCluster(async ({ client, socketPath }) => {
    await client.create(pod('a'));
    const why = async (container: object) => {
      const answer = await request(socketPath, 'PATCH', PATH, added({ image: 'x', ...container }), STRATEGIC);
      return (JSON.parse(answer.body) as Status).message!;
    };
    const at = 'Pod "a" is invalid: spec.ephemeralContainers[0]';
    assert.is(await why({ name: 'c' }), `${at}.name: Duplicate value: "c"`);
    assert.is(await why({ name: 'd', targetContainerName: 'x' }), `${at}.targetContainerName: Not found: "x"`);
    const no = 'Forbidden: cannot be set for an Ephemeral Container';
    assert.is(await why({ name: 'd', ports: [{ containerPort: 1 }] }), `${at}.ports: ${no}`);
    assert.is(await why({ name: 'd', resources: { limits: { cpu: 1 } } }), `${at}.resources: ${no}`);
    assert.is(await why({ name: 'd', livenessProbe: { tcpSocket: { port: 1 } } }), `${at}.livenessProbe: ${no}`);
    assert.is((await client.get('Pod', 'a', 'default')).spec.ephemeralContainers, undefined);
  }),
);

test(
  'they come with neither a new pod, nor a template, nor an update of the pod',
  withCluster(async ({ client }) => {
    const ephemeralContainers = [{ name: 'debugger', image: 'busybox' }];
    const created = await refusal(client.create(pod('a', {}, { ephemeralContainers })));
    assert.match(created.message, 'spec.ephemeralContainers: Forbidden: cannot be set on create');
    const template = { metadata: { labels: { a: 'b' } }, spec: { ...pod('a').spec, ephemeralContainers } };
    const spec = { selector: { matchLabels: { a: 'b' } }, template };
    const deployed = await refusal(
      client.create({ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'd' }, spec } as never),
    );
    assert.match(
      deployed.message,
      'spec.template.spec.ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template',
    );
    await client.create(pod('a'));
    const updated = await refusal(client.patch('Pod', 'a', { spec: { ephemeralContainers } }));
    assert.match(updated.message, 'pod updates may not change fields other than');
  }),
);

test.run();
