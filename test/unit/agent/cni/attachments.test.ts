/** The list of connected containers outlives the agent. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Attachments } from '../../../../src/agent/cni/attachments.ts';

const directory = mkdtempSync(join(tmpdir(), 'dataplane-test-'));
test.after(() => rmSync(directory, { recursive: true }));

const attachment = (containerID: string, name: string) => ({
  network: 'dataplane',
  containerID,
  ifname: 'eth0',
  netnsPath: '/run/netns/x',
  ip: '10.244.1.2',
  namespace: 'default',
  name,
});

test('what was set and not removed is read by the next agent', () => {
  const file = join(directory, 'a/cni.json');
  const list = new Attachments(file);
  list.set(attachment('1', 'a'));
  list.set(attachment('2', 'b'));
  list.remove({ containerID: '1', ifname: 'eth0' });
  assert.equal(new Attachments(file).all(), [attachment('2', 'b')]);
});

test('of two sandboxes of a pod the newer one is the pod', () => {
  const list = new Attachments(join(directory, 'b.json'));
  list.set(attachment('1', 'a'));
  list.set(attachment('2', 'a'));
  assert.is(list.ofPod('default', 'a')?.containerID, '2');
});

test('a damaged list is not taken for an empty one, and a change that cannot be written is not made', () => {
  const file = join(directory, 'c.json');
  const list = new Attachments(file);
  list.set(attachment('1', 'a'));
  const text = readFileSync(file, 'utf8');
  writeFileSync(file, text.slice(0, 20));
  assert.throws(() => new Attachments(file), /c\.json is damaged/);
  const unwritable = new Attachments(join(directory, 'file/cni.json'));
  writeFileSync(join(directory, 'file'), '');
  assert.throws(() => unwritable.set(attachment('1', 'a')));
  assert.equal(unwritable.all(), []);
});

test.run();
