/**
 * What an administrator installs: the chart and the kustomize base, accepted by kube-apiserver, and the systemd unit.
 * HELM names the program helm; the control plane is built by scripts/install-control-plane.sh.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { output, type Ran, ROOT, run } from '../lib/cluster.ts';
import { ControlPlane, whyNoControlPlane } from '../lib/control-plane.ts';
import { testUnless } from '../lib/test-unless.ts';

const DEPLOY = join(ROOT, 'scripts/deploy');
const CHART = join(DEPLOY, 'chart');
const BASE = join(DEPLOY, 'kustomize');
const helm = process.env.HELM;
/** As the chart needs it, also for a helm that has no version of Kubernetes built in. */
const RELEASE = ['dataplane', CHART, '--namespace', 'kube-system', '--kube-version', '1.34.0'];
const HOST = ['--set', 'apiServer.host=192.0.2.1'];

const test = suite('shipping');
const whyNoHelm = helm ? undefined : 'HELM not set';
const why = whyNoControlPlane() ?? whyNoHelm;
const byHelm = testUnless(whyNoHelm, test);
const byServer = testUnless(why, test);
const whyNoSystemd =
  (await run(['sh', '-c', 'command -v systemd-analyze'])).status === 0 ? undefined : 'no systemd-analyze';
const bySystemd = testUnless(whyNoSystemd, test);

const directory = mkdtempSync(join(tmpdir(), 'dataplane-shipping-'));
let plane: ControlPlane | undefined;
test.after(async () => {
  await plane?.remove();
  rmSync(directory, { recursive: true, force: true });
});

const template = (...args: readonly string[]): Promise<Ran> => run([helm as string, 'template', ...RELEASE, ...args]);

byHelm('the chart passes `helm lint`, and the kustomize base is the chart with its defaults', async () => {
  await output(run([helm as string, 'lint', '--strict', CHART, '--namespace', 'kube-system', ...HOST]));
  const rendered = join(directory, 'kustomize');
  await output(run([join(DEPLOY, 'render.sh'), rendered], { env: { HELM: helm } }));
  for (const name of readdirSync(rendered)) {
    assert.is(readFileSync(join(BASE, name), 'utf8'), readFileSync(join(rendered, name), 'utf8'), name);
  }
});

byHelm('values that cannot work are refused with what to do', async () => {
  const refused: [string[], RegExp][] = [
    [[], /apiServer\.host is empty: set the address/],
    [[...HOST, '--namespace', 'default'], /helm install --namespace kube-system/],
    [[...HOST, '--set', 'cni.confdir=/x'], /confdir/],
    [[...HOST, '--set', 'apiServer.port=0'], /port/],
  ];
  for (const [args, expected] of refused) {
    const { status, stderr } = await template(...args);
    assert.is.not(status, 0);
    assert.match(stderr, expected);
  }
  assert.match(await output(template(...HOST, '--set', 'cni.ipam=host-local')), '--cni-ipam=host-local');
});

byServer('kube-apiserver accepts all objects of the chart and of the kustomize base', async () => {
  plane = new ControlPlane(1);
  await plane.start();
  const objects = [
    'serviceaccount',
    'clusterrole',
    'clusterrolebinding',
    'role',
    'rolebinding',
    'configmap',
    'daemonset',
  ];
  const chart = await output(template(...HOST, '--set-json', 'options={"podCidr":"10.42.0.0/16"}'));
  for (const [args, input] of [
    [['-f', '-'], chart],
    [['-k', BASE], undefined],
  ] as const) {
    const said = await plane.kubectl(
      ['apply', '--dry-run=server', '--validate=strict', '--server-side', ...args],
      input,
    );
    const kinds = said.split('\n').map((line) => line.split(/[./]/)[0]);
    for (const kind of objects) assert.ok(kinds.includes(kind), `${kind}: ${said}`);
    assert.not.match(said, /[Ww]arning/);
  }
  assert.match(chart, String.raw`options: "{\"podCidr\":\"10.42.0.0/16\"}"`);
});

bySystemd('the unit passes `systemd-analyze verify`', async () => {
  const root = join(directory, 'root');
  mkdirSync(join(root, 'usr/local/bin'), { recursive: true });
  mkdirSync(join(root, 'etc/systemd/system'), { recursive: true });
  writeFileSync(join(root, 'usr/local/bin/dataplane'), '#!/bin/sh\n', { mode: 0o755 });
  // What it is ordered by.
  for (const unit of ['sysinit.target', 'basic.target', 'shutdown.target', 'network-online.target'])
    writeFileSync(join(root, 'etc/systemd/system', unit), '[Unit]\nDefaultDependencies=no\n');
  const unit = join(root, 'etc/systemd/system/dataplane-agent.service');
  const verify = async (text: string): Promise<Ran> => {
    writeFileSync(unit, text);
    return run(['systemd-analyze', `--root=${root}`, 'verify', 'dataplane-agent.service']);
  };
  const text = readFileSync(join(DEPLOY, 'dataplane-agent.service'), 'utf8');
  const { status, stderr } = await verify(text);
  assert.is(status, 0, stderr);
  assert.is(stderr, '');
  assert.match((await verify(text.replace('KillMode=', 'KilMode='))).stderr, /KilMode/);
});

test.run();
