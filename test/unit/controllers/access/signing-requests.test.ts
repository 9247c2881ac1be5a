/** CertificateSigningRequests: from the request to a certificate that the API accepts. */
import { generateKeyPairSync, sign, webcrypto, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ApiError } from '../../../../src/api/errors.ts';
import { parseCertificateRequest } from '../../../../src/api/rules/pkcs10.ts';
import type { CertificateSigningRequest, Manifest, SigningCondition } from '../../../../src/api/types/objects.ts';
import { isOld } from '../../../../src/controllers/access/certificate-signers.ts';
import { loadX509 } from '../../../../src/controllers/access/certificates.ts';
import { eventually, type TestCluster, withCluster } from '../test-cluster.ts';

const CLIENT = 'kubernetes.io/kube-apiserver-client';
const KUBELET = 'kubernetes.io/kube-apiserver-client-kubelet';
const SERVING = 'kubernetes.io/kubelet-serving';
const HOUR_MS = 3600 * 1000;

/** PUT as this user, or as the administrator. */
function put(
  cluster: TestCluster,
  path: string,
  body: object,
  user?: string,
): Promise<{ status: number; text: string }> {
  const headers = { 'content-type': 'application/json', ...(user && { 'impersonate-user': user }) };
  return new Promise((resolve, reject) => {
    const asked = httpRequest({ socketPath: cluster.socketPath, method: 'PUT', path, headers }, async (response) =>
      resolve({ status: response.statusCode ?? 0, text: (await response.toArray()).join('') }),
    );
    asked.on('error', reject);
    asked.end(JSON.stringify(body));
  });
}

const EC = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const RSA = {
  name: 'RSASSA-PKCS1-v1_5',
  hash: 'SHA-256',
  modulusLength: 2048,
  publicExponent: new Uint8Array([1, 0, 1]),
};

/** PEM of a request and of its private key. */
async function pkcs10(
  subject: string,
  names: { type: 'dns' | 'ip'; value: string }[] = [],
  algorithm: typeof EC | typeof RSA = EC,
) {
  const x509 = await loadX509();
  const keys = (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
  const made = await x509.Pkcs10CertificateRequestGenerator.create({
    name: subject,
    keys: keys as never,
    signingAlgorithm: algorithm,
    ...(names.length > 0 && { extensions: [new x509.SubjectAlternativeNameExtension(names)] }),
  });
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  const key = `-----BEGIN PRIVATE KEY-----\n${der.toString('base64')}\n-----END PRIVATE KEY-----\n`;
  return { pem: made.toString('pem'), key };
}

const manifest = (name: string, pem: string, spec: object = {}): Manifest<CertificateSigningRequest> => ({
  apiVersion: 'certificates.k8s.io/v1',
  kind: 'CertificateSigningRequest',
  metadata: { name },
  spec: { request: Buffer.from(pem).toString('base64'), signerName: CLIENT, usages: ['client auth'], ...spec },
});

const read = (cluster: TestCluster, name: string) => cluster.client.get('CertificateSigningRequest', name);

/** As `kubectl certificate approve` and `deny`. */
async function decide(cluster: TestCluster, name: string, type: 'Approved' | 'Denied'): Promise<number> {
  const given = await read(cluster, name);
  const condition = { type, status: 'True', reason: 'KubectlDecision', message: 'decided by a test' };
  const body = { ...given, status: { conditions: [...(given.status?.conditions ?? []), condition] } };
  const path = `/apis/certificates.k8s.io/v1/certificatesigningrequests/${name}/approval`;
  return (await put(cluster, path, body)).status;
}

const conditionsOf = (given: CertificateSigningRequest): string[] =>
  (given.status?.conditions ?? []).map(({ type }: SigningCondition) => type);

const WITH_TLS = { access: {} };

test(
  'an approved request is signed, and its certificate is its user and groups to the API',
  withCluster(async (cluster) => {
    for (const algorithm of [EC, RSA]) {
      const name = algorithm === EC ? 'ec' : 'rsa';
      const { pem, key } = await pkcs10('CN=alice, O=dev, O=ops', [], algorithm);
      const made = (await cluster.client.create(
        manifest(name, pem, { username: 'forged', groups: ['system:masters'], expirationSeconds: 3600 }) as never,
      )) as CertificateSigningRequest;
      assert.is(made.spec.username, 'system:admin', 'the API records who asks');
      assert.equal(made.spec.groups, ['system:masters', 'system:authenticated']);
      await new Promise((resolve) => setTimeout(resolve, 50));
      assert.is((await read(cluster, name)).status?.certificate, undefined, 'nothing is signed before it is approved');
      assert.is(await decide(cluster, name, 'Approved'), 200);
      const signed = await eventually(async () => (await read(cluster, name)).status?.certificate);
      const cert = Buffer.from(signed, 'base64').toString();
      const parsed = new X509Certificate(cert);
      assert.is(Date.parse(parsed.validTo) - Date.parse(parsed.validFrom), HOUR_MS + 5 * 60 * 1000);
      assert.not.ok(parsed.ca);
      assert.equal(parsed.keyUsage, ['1.3.6.1.5.5.7.3.2']);
      const user = await whoAmI(cluster, cert, key);
      assert.equal(user, { username: 'alice', groups: ['dev', 'ops', 'system:authenticated'] });
    }
  }, WITH_TLS),
);

async function whoAmI(cluster: TestCluster, cert: string, key: string): Promise<unknown> {
  const config = readFileSync(join(cluster.directory, 'kubeconfig'), 'utf8');
  const url = `${/server: (\S+)/.exec(config)![1]}/apis/authentication.k8s.io/v1/selfsubjectreviews`;
  const ca = Buffer.from(/certificate-authority-data: (\S+)/.exec(config)![1]!, 'base64');
  const body = JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' });
  const text = await new Promise<string>((resolve, reject) => {
    const asked = httpsRequest(
      url,
      { method: 'POST', cert, key, ca, agent: false, headers: { 'content-type': 'application/json' } },
      async (response) => resolve((await response.toArray()).join('')),
    );
    asked.on('error', reject);
    asked.end(body);
  });
  return (JSON.parse(text) as { status: { userInfo: unknown } }).status.userInfo;
}

test(
  'a denied request is never signed, and cannot be approved afterwards',
  withCluster(async (cluster) => {
    const { pem } = await pkcs10('CN=bob');
    await cluster.client.create(manifest('bob', pem) as never);
    assert.is(await decide(cluster, 'bob', 'Denied'), 200);
    assert.is(await decide(cluster, 'bob', 'Approved'), 422);
    assert.equal(conditionsOf(await read(cluster, 'bob')), ['Denied']);
  }, WITH_TLS),
);

test(
  'a signer refuses what its certificates may not have, with the reason in a condition',
  withCluster(async (cluster) => {
    const node = ['digital signature', 'client auth'];
    const rows = [
      [CLIENT, 'CN=a', [], ['client auth', 'server auth'], 'invalid usage for client certificate: server auth'],
      [CLIENT, 'CN=a', [], ['digital signature'], 'missing required usage for client certificate: client auth'],
      [KUBELET, 'CN=system:node:n1', [], node, 'subject organization is not system:nodes'],
      [KUBELET, 'CN=n1, O=system:nodes', [], node, 'subject common name does not begin with system:node:'],
      [
        KUBELET,
        'CN=system:node:n1, O=system:nodes',
        [{ type: 'dns', value: 'n1' }],
        node,
        'DNS subjectAltNames are not allowed',
      ],
      [
        SERVING,
        'CN=system:node:n1, O=system:nodes',
        [],
        ['digital signature', 'server auth'],
        'DNS or IP subjectAltName is required',
      ],
      [
        SERVING,
        'CN=system:node:n1, O=system:nodes',
        [{ type: 'ip', value: '10.0.0.1' }],
        node,
        'usages did not match [digital signature key encipherment server auth]',
      ],
    ] as const;
    for (const [i, [signerName, subject, names, usages, reason]] of rows.entries()) {
      const { pem } = await pkcs10(subject, names as never);
      await cluster.client.create(manifest(`r${i}`, pem, { signerName, usages }) as never);
      assert.is(await decide(cluster, `r${i}`, 'Approved'), 200);
      const given = await eventually(async () => {
        const now = await read(cluster, `r${i}`);
        return conditionsOf(now).includes('Failed') && now;
      });
      assert.is(given.status!.certificate, undefined);
      assert.is(given.status!.conditions!.at(-1)!.message, reason);
      assert.is(given.status!.conditions!.at(-1)!.reason, 'SignerValidationFailure');
    }
  }, WITH_TLS),
);

test(
  'certificates for nodes are signed with the names they ask for; other signers are left to others',
  withCluster(async (cluster) => {
    const subject = 'CN=system:node:n1, O=system:nodes';
    const serving = await pkcs10(subject, [
      { type: 'dns', value: 'n1' },
      { type: 'ip', value: '172.18.0.2' },
    ]);
    const usages = ['digital signature', 'key encipherment', 'server auth'];
    await cluster.client.create(manifest('serving', serving.pem, { signerName: SERVING, usages }) as never);
    await cluster.client.create(manifest('other', serving.pem, { signerName: 'example.com/mine', usages }) as never);
    for (const name of ['other', 'serving']) assert.is(await decide(cluster, name, 'Approved'), 200);
    const signed = await eventually(async () => (await read(cluster, 'serving')).status?.certificate);
    const parsed = new X509Certificate(Buffer.from(signed, 'base64'));
    assert.is(parsed.subjectAltName, 'DNS:n1, IP Address:172.18.0.2');
    assert.is((await read(cluster, 'other')).status?.certificate, undefined);
  }, WITH_TLS),
);

test(
  'a text that is not a request, and a request for what nobody may have, are refused',
  withCluster(async (cluster) => {
    const { pem } = await pkcs10('CN=a');
    const forged = Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
    forged[forged.length - 20]! ^= 1;
    const asPem = (der: Buffer) =>
      `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
    const { pem: masters } = await pkcs10('CN=a, O=system:masters');
    const rows: [object, number, RegExp][] = [
      [manifest('a', 'hello'), 422, /spec.request: .*PEM block type must be CERTIFICATE REQUEST/],
      [manifest('a', asPem(forged)), 422, /spec.request: .*verification failure/],
      [manifest('a', asPem(forged.subarray(0, 40))), 422, /spec.request: /],
      [manifest('a', pem, { usages: [] }), 422, /spec.usages: Required value/],
      [manifest('a', pem, { usages: ['client auth', 'client auth'] }), 422, /spec.usages\[1\]: Duplicate value/],
      [manifest('a', pem, { usages: ['nothing'] }), 422, /spec.usages\[0\]: .*"nothing"/],
      [manifest('a', pem, { expirationSeconds: 599 }), 422, /may not specify a duration less than 600 seconds/],
      [manifest('a', pem, { signerName: 'kubernetes.io/legacy-unknown' }), 422, /the legacy signerName is not allowed/],
      [manifest('a', pem, { signerName: 'mine' }), 422, /of the form 'example.com\/signer-name'/],
      [manifest('a', masters), 403, /signer with system:masters group is not allowed/],
    ];
    for (const [body, code, message] of rows) {
      const error = await cluster.client.create(body as never).then(
        () => undefined,
        (e: unknown) => e,
      );
      assert.instance(error, ApiError);
      assert.is((error as ApiError).code, code);
      assert.match((error as ApiError).message, message);
    }
  }, WITH_TLS),
);

test(
  'the request that is signed is the one that was checked, whatever else its text contains',
  withCluster(async (cluster) => {
    const [harmless, masters] = await Promise.all([pkcs10('CN=a'), pkcs10('CN=a, O=system:masters')]);
    // RFC 7468 has no headers; a reader that skips them takes the first block.
    const hidden = masters.pem.replace('REQUEST-----\n', 'REQUEST-----\nProc-Type: 4\n\n');
    await cluster.client.create(manifest('two', `${hidden}\n${harmless.pem}`) as never);
    assert.is(await decide(cluster, 'two', 'Approved'), 200);
    const signed = await eventually(async () => (await read(cluster, 'two')).status?.certificate);
    assert.is(new X509Certificate(Buffer.from(signed, 'base64')).subject, 'CN=a');
  }, WITH_TLS),
);

test('an organization is read in the encoding of its type; a type that Go does not read is refused', () => {
  const tlv = (tag: number, ...parts: Buffer[]) => {
    const content = Buffer.concat(parts);
    return Buffer.concat([Buffer.from([tag, 0x82, content.length >> 8, content.length & 0xff]), content]);
  };
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const oid = (hex: string) => tlv(0x06, Buffer.from(hex, 'hex'));
  const organizationsOf = (tag: number, value: Buffer) => {
    const subject = tlv(0x30, tlv(0x31, tlv(0x30, oid('55040a'), tlv(tag, value))));
    const info = tlv(0x30, tlv(0x02, Buffer.from([0])), subject, publicKey.export({ format: 'der', type: 'spki' }));
    const signature = tlv(0x03, Buffer.from([0]), sign('sha256', info, privateKey));
    const der = tlv(0x30, info, tlv(0x30, oid('2a8648ce3d040302')), signature);
    const pem = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString('base64')}\n-----END CERTIFICATE REQUEST-----`;
    return parseCertificateRequest(pem).organizations;
  };
  const text = 'system:masters';
  for (const tag of [0x0c, 0x13]) assert.equal(organizationsOf(tag, Buffer.from(text)), [text]);
  assert.equal(organizationsOf(0x1e, Buffer.from(text, 'utf16le').swap16()), [text]);
  const universal = Buffer.concat([...text].map((letter) => Buffer.from([0, 0, 0, letter.charCodeAt(0)])));
  assert.throws(() => organizationsOf(0x1c, universal), /unsupported string type/);
});

test(
  'what is asked for never changes; a certificate and an approval are set once, each through its subresource',
  withCluster(async (cluster) => {
    const { pem } = await pkcs10('CN=a');
    const path = '/apis/certificates.k8s.io/v1/certificatesigningrequests/a';
    const made = (await cluster.client.create(manifest('a', pem) as never)) as CertificateSigningRequest;
    const conditions = [{ type: 'Approved', status: 'True' }];
    const changed = { ...made, spec: { ...made.spec, usages: ['any'] }, status: { conditions } };
    const kept = await put(cluster, path, {
      ...changed,
      metadata: { name: 'a', labels: { x: 'y' } },
    });
    assert.equal((JSON.parse(kept.text) as CertificateSigningRequest).spec, made.spec);
    assert.equal((JSON.parse(kept.text) as CertificateSigningRequest).metadata.labels, { x: 'y' });
    const now = await read(cluster, 'a');
    assert.equal(conditionsOf(now), []);
    const byStatus = await put(cluster, `${path}/status`, { ...now, status: { conditions } });
    assert.is(byStatus.status, 422);
    const certificate = Buffer.from(
      generateKeyPairSync('ed25519').publicKey.export({ format: 'pem', type: 'spki' }),
    ).toString('base64');
    const noCertificate = await put(cluster, `${path}/status`, {
      ...now,
      status: { certificate },
    });
    assert.is(noCertificate.status, 422);
  }),
);

test(
  'under RBAC, approving needs the permission for the signer as well',
  withCluster(
    async (cluster) => {
      const { pem } = await pkcs10('CN=a');
      await cluster.client.create(manifest('a', pem) as never);
      const rules = [
        {
          apiGroups: ['certificates.k8s.io'],
          resources: ['certificatesigningrequests', 'certificatesigningrequests/approval'],
          verbs: ['*'],
        },
      ];
      const RBAC = 'rbac.authorization.k8s.io';
      const role = { apiVersion: `${RBAC}/v1`, kind: 'ClusterRole', metadata: { name: 'approver' }, rules };
      await cluster.client.create(role as never);
      await cluster.client.create({
        apiVersion: `${RBAC}/v1`,
        kind: 'ClusterRoleBinding',
        metadata: { name: 'approver' },
        roleRef: { apiGroup: RBAC, kind: 'ClusterRole', name: 'approver' },
        subjects: [{ apiGroup: RBAC, kind: 'User', name: 'carol' }],
      } as never);
      const given = await read(cluster, 'a');
      const approve = () =>
        put(
          cluster,
          '/apis/certificates.k8s.io/v1/certificatesigningrequests/a/approval',
          {
            ...given,
            metadata: { name: 'a' },
            status: { conditions: [{ type: 'Approved', status: 'True', reason: 'x', message: 'y' }] },
          },
          'carol',
        );
      const refused = await approve();
      assert.is(refused.status, 403);
      assert.match(refused.text, /user not permitted to approve requests with signerName/);
      const signers = {
        apiGroups: ['certificates.k8s.io'],
        resources: ['signers'],
        resourceNames: ['kubernetes.io/*'],
        verbs: ['approve'],
      };
      await put(cluster, `/apis/${RBAC}/v1/clusterroles/approver`, {
        ...role,
        rules: [...rules, signers],
      });
      assert.is((await approve()).status, 200);
    },
    { access: { authorization: 'rbac' } },
  ),
);

test('requests are removed an hour after the decision, undecided ones after a day', () => {
  const at = (ms: number) => new Date(ms).toISOString();
  const made = Date.now();
  const of = (status: CertificateSigningRequest['status']) =>
    ({ metadata: { name: 'a', creationTimestamp: at(made) }, spec: {}, status }) as CertificateSigningRequest;
  const denied = of({ conditions: [{ type: 'Denied', status: 'True', lastUpdateTime: at(made) }] });
  assert.equal(
    [0.5, 23, 25].map((hours) => isOld(of({}), made + hours * HOUR_MS)),
    [false, false, true],
  );
  assert.equal(
    [0.5, 1.5].map((hours) => isOld(denied, made + hours * HOUR_MS)),
    [false, true],
  );
});

test('lengths beyond the data and unknown algorithms are refused, not followed', async () => {
  const pem = (hex: string) =>
    `-----BEGIN CERTIFICATE REQUEST-----\n${Buffer.from(hex, 'hex').toString('base64')}\n-----END CERTIFICATE REQUEST-----`;
  for (const hex of ['', '30', '3084ffffffff', '3080', '30850000000001', '300a3003020100300030000300', '0400']) {
    assert.throws(() => parseCertificateRequest(pem(hex)), Error, hex);
  }
});

test.run();
