import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { COMMANDS } from '../../../../src/cli/command-table.ts';
import { completionScript } from '../../../../src/cli/completion/scripts.ts';
import { type CompletedCommand, completedCommands, KINDS, type Shell } from '../../../../src/cli/completion/words.ts';
import { testUnless } from '../../../lib/test-unless.ts';

let commands: CompletedCommand[];
let directory: string;
test.before(async () => {
  commands = await completedCommands(COMMANDS);
  directory = mkdtempSync(join(tmpdir(), 'dataplane-test-'));
  // What a cluster would answer.
  const program = `#!/bin/sh
[ "$1 $3 $4" = "get -o name" ] || exit 1
case $2 in pods|po) echo pod/web-1; echo pod/web-2 ;; namespaces) echo namespace/team ;; *) exit 1 ;; esac
`;
  writeFileSync(join(directory, 'dataplane'), program);
  chmodSync(join(directory, 'dataplane'), 0o755);
});
test.after(() => rmSync(directory, { recursive: true }));

/** What bash offers for the last of these words. */
function offered(...words: string[]): string[] {
  const script = `${completionScript('bash', commands)}
compopt() { COMPREPLY+=("files"); }
COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}
_dataplane; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const env = { PATH: `${directory}:${process.env.PATH}` };
  const { stdout, stderr, status } = spawnSync('bash', ['--norc', '-c', script], {
    encoding: 'utf8',
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  assert.is(status, 0, stderr);
  assert.is(stderr, '');
  return stdout.split('\n').filter(Boolean);
}

test('bash: commands, and what begins like the word', () => {
  assert.equal(offered('dataplane', '').sort(), [...Object.keys(COMMANDS), '--help', '--version'].sort());
  assert.equal(offered('dataplane', 'de'), ['delete', 'describe']);
});

test('bash: options of the command, files after an option that takes one, nothing after other values', () => {
  assert.ok(offered('dataplane', 'up', '--').includes('--overlay'));
  assert.equal(offered('dataplane', 'up', '--over'), ['--overlay']);
  assert.equal(offered('dataplane', 'up', '--file', ''), ['files']);
  assert.equal(offered('dataplane', 'up', '-f', ''), ['files']);
  assert.equal(offered('dataplane', 'up', '--nodes', ''), []);
});

test('bash: kinds, then names of that kind; pods; namespaces; shells', () => {
  assert.equal(offered('dataplane', 'get', 'deploy'), ['deployments']);
  assert.is(offered('dataplane', 'get', '').length, KINDS.length);
  assert.equal(offered('dataplane', 'get', 'pods', ''), ['web-1', 'web-2']);
  assert.equal(
    offered('dataplane', 'get', '-n', 'team', 'pods', ''),
    ['web-1', 'web-2'],
    'values of options are no operands',
  );
  assert.equal(offered('dataplane', 'get', '-o', 'json', '-n', ''), ['team']);
  assert.equal(offered('dataplane', 'describe', 'services', ''), [], 'the cluster does not answer');
  assert.equal(offered('dataplane', 'logs', 'web-'), ['web-1', 'web-2']);
  assert.equal(offered('dataplane', 'exec', 'web-1', ''), ['files']);
  assert.equal(offered('dataplane', 'completion', 'f'), ['fish']);
});

test('every script has every command and every option', () => {
  for (const shell of ['bash', 'zsh', 'fish'] as const) {
    const script = completionScript(shell, commands);
    for (const { name, options } of commands) {
      assert.match(script, new RegExp(`\\b${name}\\b`), `${shell}: ${name}`);
      for (const option of options) {
        const spelled = shell === 'fish' ? `-l ${option.name.slice(2)} ` : option.name;
        assert.ok(`${script} `.includes(spelled), `${shell}: ${name} ${option.name}`);
      }
    }
  }
});

/** Does the shell itself read the script? */
for (const [shell, args] of [
  ['bash', ['-n']],
  ['zsh', ['-n']],
  ['fish', ['--no-execute']],
] as const) {
  const there = spawnSync(shell, ['--version'], { stdio: 'ignore' }).error === undefined;
  testUnless(there ? undefined : `there is no ${shell}`)(`${shell} reads its script`, () => {
    const file = join(directory, `script.${shell}`);
    writeFileSync(file, completionScript(shell as Shell, commands));
    const { status, stderr } = spawnSync(shell, [...args, file], { encoding: 'utf8' });
    assert.is(status, 0, stderr);
  });
}

test.run();
