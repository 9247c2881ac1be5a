import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RESOURCES } from '../../../../src/api/resources.ts';
import { validate } from '../../../../src/api/schema/schema.ts';

const pod = (spec: object, metadata: object = { name: 'web' }) => ({ apiVersion: 'v1', kind: 'Pod', metadata, spec });
const container = (more: object = {}) => ({ name: 'c', image: 'nginx', ...more });
const errorsOf = (object: unknown) => validate(object).errors.map((e) => `${e.path}: ${e.message}`);
const svc = (spec: object) => ({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'web' }, spec });

test('a minimal pod and a minimal service are valid', () => {
  assert.equal(validate(pod({ containers: [container()] })), { errors: [], warnings: [] });
  assert.equal(validate(svc({ selector: { app: 'web' }, ports: [{ port: 80 }] })), { errors: [], warnings: [] });
});

test('an error for a wrong value has its path and what was expected', () => {
  const ports = [{ containerPort: 'abc' }];
  assert.equal(errorsOf(pod({ containers: [container({ ports })] })), [
    'spec.containers[0].ports[0].containerPort: expected integer 1–65535, got "abc"',
  ]);
  assert.equal(errorsOf(pod({ containers: [container({ ports: [{ containerPort: 70000 }] })] })), [
    'spec.containers[0].ports[0].containerPort: expected integer 1–65535, got 70000',
  ]);
  assert.equal(errorsOf(pod({ containers: {} })), [
    'spec.containers: expected a list that is not empty, got an object',
  ]);
});

test('an error for a missing field has its path', () => {
  assert.equal(errorsOf(pod({ containers: [{ name: 'c' }] })), [
    'spec.containers[0].image: required value is missing: expected the name of an image',
  ]);
  assert.equal(errorsOf({ apiVersion: 'v1', kind: 'Pod', metadata: {}, spec: { containers: [container()] } }), [
    'metadata.name: required value is missing',
  ]);
});

test('an unknown field is an error that proposes a similar name', () => {
  assert.equal(errorsOf(pod({ containers: [container({ imagepullPolicy: 'Always' })] })), [
    'spec.containers[0].imagepullPolicy: unknown field; did you mean "imagePullPolicy"?',
  ]);
  assert.equal(errorsOf(svc({ ports: [{ port: 80 }], foo: 1 })), ['spec.foo: unknown field']);
});

test('a Kubernetes field without effect here is a warning with its path, also deep inside', () => {
  const { errors, warnings } = validate(
    pod({
      affinity: {
        nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{}] } },
        podAntiAffinity: {},
      },
      topologySpreadConstraints: [
        { maxSkew: 1, topologyKey: 'zone', whenUnsatisfiable: 'DoNotSchedule', nodeTaintsPolicy: 'Honor' },
      ],
      securityContext: { runAsUser: 1000, runAsNonRoot: true, supplementalGroups: [5], sysctls: [] },
      volumes: [{ name: 'v', emptyDir: { sizeLimit: '1Mi' } }],
      containers: [
        container({
          securityContext: {
            runAsUser: 1000,
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
            seccompProfile: { type: 'RuntimeDefault' },
            appArmorProfile: { type: 'RuntimeDefault' },
          },
        }),
      ],
    }),
  );
  assert.equal(errors, []);
  assert.equal(warnings.map((w) => w.path).sort(), [
    'spec.containers[0].securityContext.appArmorProfile',
    'spec.securityContext.sysctls',
    'spec.topologySpreadConstraints[0].nodeTaintsPolicy',
  ]);
});

test('only sidecars among the init containers have probes and hooks, and only init containers are sidecars', () => {
  const readinessProbe = { tcpSocket: { port: 80 } };
  const spec = (init: object, main: object = {}) =>
    errorsOf(pod({ initContainers: [container({ name: 'i', ...init })], containers: [container(main)] }));
  assert.equal(spec({ restartPolicy: 'Always', readinessProbe }), []);
  assert.equal(spec({ readinessProbe }), [
    'spec.initContainers[0].readinessProbe: may not be set for init containers without restartPolicy=Always',
  ]);
  assert.equal(spec({}, { restartPolicy: 'Always' }), [
    'spec.containers[0].restartPolicy: may not be set for non-init containers',
  ]);
});

test('subPathExpr has an effect, so there is no warning; it excludes subPath', () => {
  const mounting = (mount: object) => {
    const volumeMounts = [{ name: 'data', mountPath: '/data', ...mount }];
    return pod({ containers: [container({ volumeMounts })], volumes: [{ name: 'data', emptyDir: {} }] });
  };
  assert.equal(validate(mounting({ subPathExpr: '$(POD_NAME)' })), { errors: [], warnings: [] });
  assert.equal(errorsOf(mounting({ subPathExpr: '$(POD_NAME)', subPath: 'a' })), [
    'spec.containers[0].volumeMounts[0].subPathExpr: subPathExpr and subPath are mutually exclusive',
  ]);
});

test('what has no effect is checked all the same', () => {
  const wrong = pod({
    securityContext: { fsGroupChangePolicy: 5 },
    containers: [container({ securityContext: { user: 1 } })],
  });
  assert.equal(
    validate(wrong)
      .errors.map(({ path }) => path)
      .sort(),
    ['spec.containers[0].securityContext.user', 'spec.securityContext.fsGroupChangePolicy'],
  );
});

test('kinds: unknown, wrong version', () => {
  assert.match(errorsOf({ apiVersion: 'v1', kind: 'Pood' })[0]!, /^kind: unknown kind "Pood"; did you mean "Pod"\?/);
  assert.equal(errorsOf({ apiVersion: 'v2', kind: 'Pod' }), ['apiVersion: expected "v1" for kind Pod, got "v2"']);
  for (const junk of [null, undefined, 1, 'x', [], {}]) assert.is(validate(junk).errors.length, 1);
});

test('names follow the RFC that their kind requires', () => {
  const named = (kind: string, name: string) =>
    validate({ apiVersion: 'v1', kind, metadata: { name } }).errors.some((e) => e.path === 'metadata.name');
  assert.not(named('ConfigMap', 'a.b-c.9'));
  for (const name of ['A', 'a_b', '-a', 'a-', 'a..b', 'x'.repeat(254), '']) assert.ok(named('ConfigMap', name), name);
  assert.ok(named('Namespace', 'a.b'));
  const serviceName = (name: string) => errorsOf({ ...svc({ ports: [{ port: 1 }] }), metadata: { name } }).length > 0;
  assert.ok(serviceName('9lives'));
  assert.not(serviceName('nine-lives'));
});

test('null members count as absent', () => {
  assert.equal(errorsOf(pod({ containers: [container({ env: null })] }, { name: 'a', labels: null })), []);
});

test('values of env and labels must be strings; the error message says to quote them', () => {
  const env = [{ name: 'A', value: 5 }];
  assert.equal(errorsOf(pod({ containers: [container({ env })] })), [
    'spec.containers[0].env[0].value: expected text (quote numbers and true/false), got 5',
  ]);
  assert.match(
    errorsOf(pod({ containers: [container()] }, { name: 'a', labels: { 'x/y': 1 } }))[0]!,
    /^metadata\.labels\[x\/y\]: /,
  );
});

test('the pods of a StatefulSet can mount its claims, and nothing else that its template does not have', () => {
  const set = (name: string) => ({
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: { name: 's' },
    spec: {
      selector: { matchLabels: { a: 'b' } },
      template: {
        metadata: { labels: { a: 'b' } },
        spec: { containers: [container({ volumeMounts: [{ name, mountPath: '/d' }] })] },
      },
      volumeClaimTemplates: [{ metadata: { name: 'data' }, spec: { accessModes: ['ReadWriteOnce'] } }],
    },
  });
  assert.equal(errorsOf(set('data')), []);
  assert.equal(errorsOf(set('logs')), ['spec.template.spec.containers[0].volumeMounts[0].name: Not found: "logs"']);
});

test('pods: unique names, mounts only of existing volumes, one handler per probe', () => {
  const spec = {
    containers: [
      container({ volumeMounts: [{ name: 'data', mountPath: '/d' }] }),
      container({ readinessProbe: {}, livenessProbe: { tcpSocket: { port: 1 }, successThreshold: 2 } }),
    ],
    volumes: [{ name: 'v' }, { name: 'v', emptyDir: {}, hostPath: { path: '/' } }],
  };
  const paths = validate(pod(spec)).errors.map((e) => e.path);
  assert.equal(paths.sort(), [
    'spec.containers[0].volumeMounts[0].name',
    'spec.containers[1].livenessProbe.successThreshold',
    'spec.containers[1].name',
    'spec.containers[1].readinessProbe',
    'spec.volumes[1].hostPath',
    'spec.volumes[1].name',
  ]);
});

test('services: type, ports and policies must fit together', () => {
  const first = (spec: object) => errorsOf(svc(spec))[0] ?? '';
  assert.match(first({}), /^spec\.ports: Required value/);
  assert.is(first({ clusterIP: 'None' }), '');
  assert.match(first({ ports: [{ port: 80 }, { name: 'b', port: 81 }] }), /^spec\.ports\[0\]\.name: Required value/);
  const twice = [
    { name: 'a', port: 80 },
    { name: 'b', port: 80 },
  ];
  assert.match(first({ ports: twice }), /^spec\.ports\[1\]: Duplicate value/);
  assert.is(first({ ports: [twice[0], { ...twice[1], protocol: 'UDP' }] }), '');
  assert.match(first({ ports: [{ port: 80, nodePort: 30000 }] }), /may not be used when `type` is 'ClusterIP'/);
  assert.match(first({ type: 'NodePort', clusterIP: 'None', ports: [{ port: 80 }] }), /may not be set to 'None'/);
  assert.match(first({ type: 'ExternalName' }), /^spec\.externalName: Required value/);
  assert.match(first({ ports: [{ port: 80 }], externalTrafficPolicy: 'Local' }), /externally-accessible/);
  assert.is(first({ type: 'NodePort', ports: [{ port: 80 }], externalTrafficPolicy: 'Local' }), '');
  assert.match(first({ ports: [{ port: 80 }], externalIPs: ['127.0.0.1'] }), /loopback/);
  const affinity = { sessionAffinityConfig: { clientIP: { timeoutSeconds: 5 } } };
  assert.match(first({ ports: [{ port: 80 }], ...affinity }), /session affinity is None/);
  const tooLong = { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds: 86401 } } };
  assert.match(first({ ports: [{ port: 80 }], ...tooLong }), /timeoutSeconds: expected integer 1–86400/);
});

test('endpoints may not point at loopback, link-local, multicast or 0/8 (CVE-2021-25737)', () => {
  const of = (ip: string) =>
    validate({ apiVersion: 'v1', kind: 'Endpoints', metadata: { name: 'e' }, subsets: [{ addresses: [{ ip }] }] })
      .errors;
  const bad = ['127.0.0.1', '127.9.9.9', '169.254.169.254', '224.0.0.1', '239.1.1.1', '0.0.0.0', '0.1.2.3', '::1'];
  bad.push('fe80::1', 'ff02::1', '::', '::ffff:127.0.0.1', '255.255.255.255', '10.0.0.256', '010.0.0.1', 'x');
  for (const ip of bad) assert.is(of(ip)[0]?.path, 'subsets[0].addresses[0].ip', ip);
  for (const ip of ['10.0.0.1', '192.0.2.1', '2001:db8::1']) assert.equal(of(ip), [], ip);
  const slice = (addressType: string, address: string) =>
    validate({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'e' },
      addressType,
      endpoints: [{ addresses: [address] }],
    }).errors.length;
  assert.is(slice('IPv4', '10.0.0.1'), 0);
  assert.is(slice('IPv4', '169.254.1.1'), 1);
  assert.is(slice('IPv6', '10.0.0.1'), 1);
  assert.is(slice('FQDN', 'example.com'), 0);
});

test('a megabyte of text is refused as fast as a short text', () => {
  const long = `${'a'.repeat(1_000_000)}!`;
  const digits = `${'1'.repeat(1_000_000)}x`;
  const started = process.cpuUsage(); // CPU time, so that other load on the machine does not matter.
  const resources = { limits: { cpu: digits } };
  validate(
    pod(
      { containers: [container({ name: long, resources, ports: [{ name: long, containerPort: 1 }] })] },
      { name: long, labels: { [long]: long } },
    ),
  );
  validate(svc({ type: 'ExternalName', externalName: long }));
  assert.ok(process.cpuUsage(started).user < 500_000);
});

test('an object of any kind without a spec, or with an empty one, is accepted or refused with its errors', () => {
  for (const { group, version, kind } of RESOURCES) {
    const apiVersion = group === '' ? version : `${group}/${version}`;
    const object = { apiVersion, kind, metadata: { name: 'x' } };
    for (const its of [{}, { spec: null }, { spec: {} }]) {
      for (const error of validate({ ...object, ...its }).errors) assert.ok(error.message !== '', kind);
    }
  }
  assert.equal(errorsOf({ apiVersion: 'batch/v1', kind: 'CronJob', metadata: { name: 'x' } }), [
    'spec.schedule: Required value',
    'spec.jobTemplate: Required value',
  ]);
});

test('validate never throws, whatever its input', () => {
  const junk = [0, '', 'x', true, null, [], {}, [[]], { a: 1 }, -1, 1e99, '\u0000'];
  const kinds = ['Pod', 'Service', 'Endpoints', 'ConfigMap', 'Secret', 'Node', 'Namespace', 'Event'];
  for (const kind of kinds) {
    for (const a of junk) {
      for (const b of junk) {
        validate({ apiVersion: 'v1', kind, metadata: a, spec: b, data: b, subsets: b, status: a });
        validate({
          apiVersion: 'v1',
          kind,
          metadata: { name: 'x', labels: a },
          spec: { containers: [b], ports: [a, b] },
        });
      }
    }
  }
});

test('a container requests at most its limits, in pods and in templates', () => {
  const resources = { requests: { cpu: '300m', memory: '1Gi' }, limits: { cpu: '0.2', memory: '1024Mi' } };
  const message = 'Invalid value: "300m": must be less than or equal to cpu limit of 200m';
  assert.equal(errorsOf(pod({ containers: [container({ resources })] })), [
    `spec.containers[0].resources.requests: ${message}`,
  ]);
  const equal = { requests: { cpu: '200m', memory: '1Gi' }, limits: { cpu: '0.2' } };
  assert.equal(errorsOf(pod({ containers: [container({ resources: equal })] })), []);
});

test('parameters of a rolling update are refused with other strategies', () => {
  const template = { metadata: { labels: { app: 'a' } }, spec: { containers: [container()] } };
  const of = (kind: string, more: object) => ({
    apiVersion: 'apps/v1',
    kind,
    metadata: { name: 'a' },
    spec: { selector: { matchLabels: { app: 'a' } }, template, ...more },
  });
  assert.equal(errorsOf(of('Deployment', { strategy: { type: 'Recreate', rollingUpdate: { maxSurge: 1 } } })), [
    "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
  ]);
  assert.equal(errorsOf(of('Deployment', { strategy: { type: 'Recreate' } })), []);
  const updateStrategy = { type: 'OnDelete', rollingUpdate: { partition: 1 } };
  assert.match(errorsOf(of('StatefulSet', { updateStrategy }))[0]!, /only allowed for updateStrategy 'RollingUpdate'/);
  assert.equal(errorsOf(of('StatefulSet', { updateStrategy: { type: 'OnDelete' } })), []);
});

test.run();
