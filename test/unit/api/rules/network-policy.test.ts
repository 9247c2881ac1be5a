/** NetworkPolicy: what the API server refuses, in its words (pkg/apis/networking/validation). */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { checkNetworkPolicy } from '../../../../src/api/rules/network-policy.ts';
import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort } from '../../../../src/api/types/network-policy.ts';

const test = suite('rules of NetworkPolicy');

const errorsOf = (spec: NetworkPolicy['spec']) =>
  checkNetworkPolicy({ spec } as NetworkPolicy).map(({ path, message }) => `${path}: ${message}`);
const portErrors = (port: NetworkPolicyPort) => errorsOf({ podSelector: {}, ingress: [{ ports: [port] }] });
const peerErrors = (peer: NetworkPolicyPeer) => errorsOf({ podSelector: {}, egress: [{ to: [peer] }] });

const PORT = 'spec.ingress[0].ports[0]';
const PEER = 'spec.egress[0].to[0]';

test('valid policies have no errors', () => {
  assert.equal(errorsOf({ podSelector: {} }), []);
  assert.equal(portErrors({ protocol: 'SCTP', port: 80, endPort: 80 }), []);
  assert.equal(portErrors({ port: 'http' }), []);
  assert.equal(peerErrors({ ipBlock: { cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] } }), []);
  assert.equal(peerErrors({ podSelector: {}, namespaceSelector: {} }), []);
});

test('ports: range, name, protocol, and endPort only after a number', () => {
  assert.equal(portErrors({ port: 0 }), [`${PORT}.port: Invalid value: 0: must be between 1 and 65535, inclusive`]);
  assert.equal(portErrors({ port: 80, endPort: 79 }), [
    `${PORT}.endPort: Invalid value: 79: must be greater than or equal to \`port\``,
  ]);
  assert.equal(portErrors({ port: 'http', endPort: 90 }), [
    `${PORT}.endPort: Invalid value: 90: may not be specified when \`port\` is non-numeric`,
  ]);
  assert.equal(portErrors({ endPort: 90 }), [
    `${PORT}.port: Required value: must be specified when \`endPort\` is specified`,
  ]);
  assert.equal(portErrors({ protocol: 'ICMP' }), [
    `${PORT}.protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"`,
  ]);
  assert.is(portErrors({ port: 'no_name' }).length, 1);
});

test('peers: something, but not a block and a selector; exceptions lie strictly inside their block', () => {
  assert.equal(peerErrors({}), [`${PEER}: Required value: must specify a peer`]);
  assert.equal(peerErrors({ podSelector: {}, ipBlock: { cidr: '10.0.0.0/8' } }), [
    `${PEER}: Forbidden: may not specify both ipBlock and another peer`,
  ]);
  assert.equal(peerErrors({ ipBlock: { cidr: '10.0.0.0' } }), [
    `${PEER}.ipBlock.cidr: Invalid value: "10.0.0.0": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)`,
  ]);
  for (const hole of ['11.0.0.0/16', '10.0.0.0/8', '0.0.0.0/0', 'fd00::/64'])
    assert.equal(peerErrors({ ipBlock: { cidr: '10.0.0.0/8', except: [hole] } }), [
      `${PEER}.ipBlock.except[0]: Invalid value: "${hole}": must be a strict subset of \`cidr\``,
    ]);
});

test('policyTypes: Ingress and Egress alone', () => {
  assert.equal(errorsOf({ podSelector: {}, policyTypes: ['Outgress' as never] }), [
    'spec.policyTypes[0]: Unsupported value: "Outgress": supported values: "Egress", "Ingress"',
  ]);
});

test.run();
