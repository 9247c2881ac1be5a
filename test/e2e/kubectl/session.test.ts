/**
 * kubectl against the API, command by command: the transcripts in `sessions/`. A line that begins with `$` is a command;
 * the lines below it are what it prints, in which `<age>`, `<id>` and `…` stand for what differs, a line `...` for any
 * lines, and runs of blanks for any others. `! 1` after the output: the exit status. Which kubectl: see KUBECTL.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { startController } from '../../../src/controllers/controller.ts';
import { ROOT } from '../../lib/cluster.ts';
import { PROGRAM, whyNoKubectl } from '../../lib/kubectl.ts';
import { testUnless } from '../../lib/test-unless.ts';

const FOLDER = join(ROOT, 'test/e2e/kubectl/sessions');

interface Step {
  line: number;
  command: string;
  expected: string[];
  status: number;
}

/** The commands of a transcript. Indented lines below a command are its input. */
function parse(text: string): Step[] {
  const steps: Step[] = [];
  text.split('\n').forEach((line, i) => {
    const step = steps.at(-1);
    if (line.startsWith('$ ')) steps.push({ line: i + 1, command: line.slice(2), expected: [], status: 0 });
    else if (line.startsWith('#') || step === undefined) return;
    else if (line.startsWith('! ')) step.status = Number(line.slice(2));
    else if (line !== '') step.expected.push(line);
  });
  return steps;
}

function pattern(line: string): string {
  return line
    .replace(/[\\^$*+?.()|[\]{}]/g, '\\$&')
    .replace(/ +/g, ' +')
    .replaceAll('<age>', '(\\d+[smhdy])+')
    .replaceAll('<id>', '[a-z0-9]+')
    .replaceAll('…', '.*');
}

/** Does the output consist of these lines? */
function matches(output: string, expected: readonly string[]): boolean {
  const parts = expected.map((line) => (line === '...' ? '(.*\\n)*' : `${pattern(line)} *\\n`));
  const lines = output.split('\n').filter((line) => line.trim() !== '');
  return new RegExp(`^${parts.join('')}$`).test(lines.map((line) => `${line}\n`).join(''));
}

function shell(command: string, env: NodeJS.ProcessEnv, cwd: string): Promise<{ output: string; status: number }> {
  return new Promise((resolve) => {
    const child = spawn('bash', ['-c', `${command} 2>&1`], { env, cwd, stdio: ['ignore', 'pipe', 'ignore'] });
    let output = '';
    child.stdout.on('data', (chunk) => {
      output += chunk;
    });
    child.on('close', (code) => resolve({ output, status: code ?? 1 }));
  });
}

const kubectlTest = testUnless(whyNoKubectl());

for (const file of readdirSync(FOLDER)
  .filter((name) => name.endsWith('.txt'))
  .sort()) {
  kubectlTest(`kubectl: ${file.replace('.txt', '').replaceAll('-', ' ')}`, async () => {
    const directory = mkdtempSync(join(tmpdir(), 'dataplane-kubectl-'));
    const insecure = { host: '127.0.0.1', port: 0 };
    const controller = await startController({
      stateDir: directory,
      socketPath: `${directory}/api.sock`,
      insecure,
      volumesDirectory: `${directory}/volumes`,
    });
    const server = `http://127.0.0.1:${controller.insecurePort}`;
    // kubectl by its name, whatever the program is, with a home of its own for what it keeps.
    // A program that ends at once needs no garbage collector, which takes a fifth of its time.
    const go = { GOGC: 'off' };
    const own = { HOME: directory, KUBECONFIG: '/dev/null', KUBECTL: PROGRAM, SERVER: server };
    const env = { PATH: process.env.PATH, ...own, ...go };
    const kubectl = 'kubectl() { command "$KUBECTL" --server "$SERVER" "$@"; }; export -f kubectl; ';
    const wrong: string[] = [];
    try {
      for (const step of parse(readFileSync(join(FOLDER, file), 'utf8'))) {
        const { output, status } = await shell(`{ ${kubectl} ${step.command}\n}`, env, FOLDER);
        if (status === step.status && matches(output, step.expected)) continue;
        wrong.push(`${file}:${step.line}: $ ${step.command}\n${output}(status ${status})`);
      }
    } finally {
      await controller.close();
      rmSync(directory, { recursive: true });
    }
    assert.equal(wrong, [], wrong.join('\n'));
  });
}

test.run();
