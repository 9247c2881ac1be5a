/**
 * The rights of the shipped roles (scripts/deploy/kustomize/rbac.yaml) at an API server of Kubernetes with RBAC: they are
 * enough for the agent of a node beside kubelet, and the agent names each one that is missing.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseAllDocuments } from 'yaml';
import { nodeAddresses } from '../../src/api/node-identity.ts';
import { eventually, ROOT } from '../lib/cluster.ts';
import { SERVED } from '../lib/cni/runtime-node.ts';
import { ADDRESS, ControlPlane, whyNoControlPlane } from '../lib/control-plane.ts';
import { testUnless } from '../lib/test-unless.ts';

interface Rule {
  apiGroups: string[];
  resources: string[];
  verbs: string[];
}

interface Role {
  kind: string;
  metadata: { name: string };
  rules: Rule[];
}

const ROLES = join(ROOT, 'scripts/deploy/kustomize/rbac.yaml');
const NODE = 'n1';
const AGENT = `agent-${NODE}`;

const why = whyNoControlPlane();
const test = suite('rights');
const scenario = testUnless(why, test);

let plane: ControlPlane;
let kubeconfig: string;

/** Of the agent's log, what was there before. */
let before = 0;
const log = (): string => plane.logOf(AGENT).slice(before);
const isLogged = (text: string | RegExp): Promise<true> =>
  eventually(async () => {
    const found = typeof text === 'string' ? log().includes(text) : text.test(log());
    return found ? true : undefined;
  }, 30_000).catch((error: Error) => {
    throw new Error(`${error.message}: ${text}: ${log().slice(-3000)}`);
  });

const startAgent = (): void => {
  const directory = join(plane.directory, 'cni');
  const places = ['--cni-conf-dir', join(directory, 'net.d'), '--cni-bin-dir', join(directory, 'bin')];
  plane.startAgent(NODE, kubeconfig, ['--cni', ...places, '--cni-socket', join(plane.directory, 'cni.sock')]);
};

/** A kubeconfig of the agents' service account. */
async function accountKubeconfig(): Promise<string> {
  const path = join(plane.directory, 'account.kubeconfig');
  const token = await plane.kubectl(['-n', 'kube-system', 'create', 'token', 'dataplane-agent']);
  const cluster = {
    server: `https://${ADDRESS}:6443`,
    'certificate-authority': join(plane.directory, 'pki/ca.crt'),
  };
  const config = {
    clusters: [{ name: 'c', cluster }],
    users: [{ name: 'u', user: { token: token.trim() } }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'x',
  };
  writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
  return path;
}

const shipped = (kind: string): Role =>
  parseAllDocuments(readFileSync(ROLES, 'utf8'))
    .map((document) => document.toJS() as Role)
    .find((object) => object.kind === kind) as Role;

/** The role, without what `keep` refuses. */
async function restrict(role: Role, keep: (resource: string, verb: string) => boolean): Promise<void> {
  const rules = role.rules.flatMap((rule) =>
    rule.resources.flatMap((resource) => {
      const verbs = rule.verbs.filter((verb) => keep(resource, verb));
      return verbs.length === 0 ? [] : [{ ...rule, resources: [resource], verbs }];
    }),
  );
  await plane.kubectl(['apply', '-f', '-'], JSON.stringify({ ...role, rules }));
}

if (why === undefined) {
  test.before(async () => {
    plane = new ControlPlane(1);
    await plane.start();
    await plane.kubectl(['apply', '-f', ROLES]);
    const ip = plane.nodes[0]?.ip as string;
    // As kubelet registers it.
    await plane.kubectl(
      ['apply', '-f', '-'],
      JSON.stringify({ apiVersion: 'v1', kind: 'Node', metadata: { name: NODE } }),
    );
    const status = JSON.stringify({ status: { addresses: nodeAddresses(NODE, ip) } });
    await plane.kubectl(['patch', 'node', NODE, '--subresource=status', '--type=merge', '-p', status]);
    kubeconfig = await accountKubeconfig();
    startAgent();
  });
  test.after(() => plane?.remove());
}

scenario('they are enough', async () => {
  await isLogged(SERVED);
  const node = await eventually(async () => {
    const text = await plane.kubectl(['get', 'node', NODE, '-o', 'json']);
    return text.includes('NetworkUnavailable') ? text : undefined;
  }, 20_000);
  assert.match(node, 'flannel.alpha.coreos.com/public-ip');
  assert.not.match(log(), /forbidden|lacks a right|refuses to/);
});

scenario(
  'without the right to read something, the agent says what it is, and goes on when it has it again',
  async () => {
    const role = shipped('ClusterRole');
    await restrict(role, (_, verb) => verb === 'patch' || verb === 'create');
    // Watches that are open stay so; those that are opened again are judged again.
    await plane.stop('apiserver', 'SIGKILL');
    plane.startApiServer();
    await plane.whenReady();
    const kinds = ['Service', 'Pod', 'Node', 'EndpointSlice', 'NetworkPolicy'];
    for (const kind of kinds) await isLogged(`the API refuses to list or watch ${kind}: `);
    await isLogged(
      /cannot (list|watch) resource "endpointslices" in API group "discovery.k8s.io" at the cluster scope/,
    );
    await plane.kubectl(['apply', '-f', ROLES]);
    for (const kind of kinds) await isLogged(`the API lists ${kind} again`);
  },
);

scenario('without the right to write something, too', async () => {
  const role = shipped('ClusterRole');
  await plane.stop(AGENT);
  before = log().length;
  await restrict(role, (resource, verb) => verb !== 'patch' || resource === 'events');
  startAgent();
  await isLogged(/the agent lacks a right: .*cannot patch resource "nodes\/status"/);
  await plane.kubectl(['apply', '-f', ROLES]);
});

scenario('the rights name nothing that the agent does not use', () => {
  const verbs = shipped('ClusterRole').rules.flatMap(({ resources, verbs: allowed }) =>
    resources.flatMap((resource) => allowed.map((verb) => `${verb} ${resource}`)),
  );
  const wide = verbs.filter((right) => /\*|secrets|delete|impersonate|escalate|bind|update/.test(right));
  assert.equal(wide, []);
});

test.run();
