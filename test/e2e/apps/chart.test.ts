/** A chart, rendered by Helm and passed to `up` as a stranger would: `helm template | dataplane up -f -`. HELM3: the program. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { applicationSuite } from '../../lib/applications.ts';
import { ROOT } from '../../lib/cluster.ts';

const HELM = process.env.HELM3;
const render = (...args: string[]) =>
  execFileSync(HELM!, ['template', 'wise', join(ROOT, 'test/apps/chart'), ...args], { encoding: 'utf8' });
const { test, app } = applicationSuite('chart', {
  longForm: true,
  files: '-',
  input: () => render(),
  programs: ['redis-server'],
  ...(HELM === undefined && { why: 'HELM3 is not set' }),
});
const QUOTES = 'http://172.18.0.11:30084';

test('every request gets the next quotation, whichever pod answers', async () => {
  const answers = [];
  for (let i = 0; i < 4; i++) answers.push(await app.page(`${QUOTES}/`));
  assert.equal(answers, [
    '1: No man ever steps in the same river twice\n',
    '2: The river is everywhere\n',
    '3: No man ever steps in the same river twice\n',
    '4: The river is everywhere\n',
  ]);
});

test('other values are applied without a failed request', async () => {
  await app.underLoad([{ url: `${QUOTES}/`, expect: '^\\d+: (No man|The river|Still waters)' }], async () => {
    const { stdout, status, stderr } = await app.apply(render('--set', 'quotes={Still waters},replicaCount=3'));
    assert.is(status, 0, stderr);
    assert.match(stdout, 'configmap/wise-quotes configured');
    await app.rolledOut('Deployment', 'wise-quotes');
  });
  assert.match(await app.page(`${QUOTES}/`), 'Still waters');
});

test.run();
