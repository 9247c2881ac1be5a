/** ClusterNetworkPolicy: what its definition refuses (network-policy-api config/crd), and what has no effect here. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { validate } from '../../../../src/api/schema/schema.ts';

const test = suite('rules of ClusterNetworkPolicy');

const SUBJECT = { namespaces: {} };
const policy = (spec: object) => ({
  apiVersion: 'policy.networking.k8s.io/v1alpha2',
  kind: 'ClusterNetworkPolicy',
  metadata: { name: 'p' },
  spec: { tier: 'Admin', priority: 10, subject: SUBJECT, ...spec },
});
const errorsOf = (spec: object) => validate(policy(spec)).errors.map(({ path, message }) => `${path}: ${message}`);
const firstError = (spec: object) => errorsOf(spec)[0] ?? '';
const egress = (rule: object) => ({ egress: [{ action: 'Accept', to: [{ namespaces: {} }], ...rule }] });
const TO = 'spec.egress[0].to';

test('valid policies have no errors', () => {
  assert.equal(errorsOf({}), []);
  assert.equal(errorsOf({ subject: { pods: { namespaceSelector: {}, podSelector: {} } } }), []);
  assert.equal(errorsOf({ ingress: [{ name: 'a', action: 'Pass', from: [{ namespaces: {} }] }] }), []);
  const to = [{ networks: ['10.0.0.0/8', 'fd00::/8'] }, { nodes: {} }, { domainNames: ['*.kubernetes.io'] }];
  const tcp = { destinationPort: { range: { start: 1, end: 65535 } } };
  assert.equal(errorsOf(egress({ to, protocols: [{ tcp }, { udp: { destinationPort: { number: 53 } } }] })), []);
  assert.equal(errorsOf(egress({ protocols: [{ destinationNamedPort: 'web' }] })), []);
});

test('tier, priority and subject', () => {
  assert.match(firstError({ tier: 'Middle' }), /^spec\.tier: .*Admin.*Baseline/);
  assert.match(firstError({ priority: 1001 }), 'spec.priority: Invalid value: 1001: must be between 0 and 1000');
  assert.match(
    firstError({ subject: {} }),
    'spec.subject: Invalid value: {}: must have exactly one of namespaces, pods',
  );
  assert.match(firstError({ subject: { namespaces: {}, pods: { podSelector: {} } } }), 'must have exactly one of');
});

test('rules: action, number, name, peers', () => {
  assert.match(firstError(egress({ action: 'Allow' })), /^spec\.egress\[0\]\.action: .*Accept, Deny, Pass/);
  assert.match(firstError(egress({ to: [] })), `${TO}: Required value: must have at least one item`);
  assert.match(firstError({ egress: [{ action: 'Deny' }] }), TO);
  assert.match(firstError(egress({ name: 'x'.repeat(101) })), 'spec.egress[0].name: Too long');
  const rules = Array.from({ length: 26 }, () => ({ action: 'Deny', to: [{ namespaces: {} }] }));
  assert.match(firstError({ egress: rules }), 'spec.egress: Too many: 26: must have at most 25 items');
});

test('peers: exactly one kind, and nodes, networks and names for egress alone', () => {
  assert.match(firstError(egress({ to: [{}] })), `${TO}[0]: Invalid value: {}: must have exactly one of`);
  assert.match(firstError(egress({ to: [{ namespaces: {}, nodes: {} }] })), 'must have exactly one of');
  assert.match(firstError(egress({ to: [{ networks: ['10.0.0.0'] }] })), `${TO}[0].networks[0]: Invalid value`);
  assert.match(firstError({ ingress: [{ action: 'Deny', from: [{ nodes: {} }] }] }), 'spec.ingress[0].from[0]');
  assert.match(firstError(egress({ to: [{ domainNames: ['*'] }] })), `${TO}[0].domainNames[0]: Invalid value`);
  assert.match(
    firstError(egress({ action: 'Deny', to: [{ domainNames: ['kubernetes.io'] }] })),
    'only rules that accept can name domains',
  );
});

test('protocols: one each, ports in range, and names of ports for pods alone', () => {
  const PROTOCOL = 'spec.egress[0].protocols[0]';
  const first = (protocol: object, more: object = {}) => firstError(egress({ protocols: [protocol], ...more }));
  assert.match(first({}), `${PROTOCOL}: Invalid value: {}: must have exactly one of`);
  assert.match(first({ tcp: {} }), `${PROTOCOL}.tcp.destinationPort: Required value`);
  assert.match(first({ tcp: { destinationPort: {} } }), `${PROTOCOL}.tcp.destinationPort: Invalid value`);
  assert.match(first({ udp: { destinationPort: { number: 65536 } } }), 'must be between 1 and 65535');
  const range = { start: 80, end: 80 };
  assert.match(first({ sctp: { destinationPort: { range } } }), 'Start port must be less than End port');
  assert.match(first({ destinationNamedPort: 'web' }, { to: [{ networks: ['10.0.0.0/8'] }] }), 'no namedPorts for');
});

test('names of domains are accepted with a warning that they match nothing', () => {
  const to = [{ namespaces: {} }, { domainNames: ['kubernetes.io'] }];
  const { errors, warnings } = validate(policy(egress({ to })));
  assert.equal(errors, []);
  assert.equal(warnings, [
    {
      path: `${TO}[1].domainNames`,
      message: 'names are not resolved by this cluster, so this peer matches nothing',
    },
  ]);
});

test.run();
