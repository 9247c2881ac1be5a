/** What is kept of a node's settings before they are changed. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { FormerState, readFormerState } from '../../../../src/agent/underlay/former-state.ts';

interface Context {
  file: string;
}
const test = suite<Context>('former state');
test.before.each((context) => {
  context.file = join(mkdtempSync(join(tmpdir(), 'dataplane-former-')), 'former-host.json');
});
test.after.each(({ file }) => rmSync(join(file, '..'), { recursive: true }));

test('the first value of a setting stays, also for the next agent', ({ file }) => {
  new FormerState(file).keepSysctls({ 'net/ipv4/ip_forward': '0' });
  const next = new FormerState(file);
  next.keepSysctls({ 'net/ipv4/ip_forward': '1', 'net/ipv4/conf/all/rp_filter': '2' });
  assert.equal(readFormerState(file).sysctls, { 'net/ipv4/ip_forward': '0', 'net/ipv4/conf/all/rp_filter': '2' });
});

test('ranges that were not reserved are kept once', ({ file }) => {
  const state = new FormerState(file);
  state.keepUnreserved([[30000, 32767]]);
  state.keepUnreserved([
    [30000, 32767],
    [8080, 8080],
  ]);
  assert.equal(readFormerState(file).unreservedPorts, [
    [30000, 32767],
    [8080, 8080],
  ]);
});

test('a file that is missing or damaged counts as empty', ({ file }) => {
  assert.equal(readFormerState(file), { sysctls: {}, unreservedPorts: [] });
  writeFileSync(file, '{"sysctls": {"a"');
  assert.equal(readFormerState(file), { sysctls: {}, unreservedPorts: [] });
});

test.run();
