/** The voting application: votes go through Redis and a worker into PostgreSQL, and from there to the page of results. */
import * as assert from 'uvu/assert';
import { applicationSuite, FULL } from '../../lib/applications.ts';
import { eventually } from '../../lib/cluster.ts';

const { test, app } = applicationSuite('vote', {
  longForm: true,
  files: 'vote',
  programs: ['redis-server', 'psql', 'initdb|/usr/lib/postgresql'],
});
const VOTE = 'http://172.18.0.11:31000';
const RESULT = 'http://172.18.0.11:31001';

const counted = (a: number, b: number) =>
  eventually(async () => ((await app.page(`${RESULT}/`)) === JSON.stringify({ a, b }) ? true : undefined), 20_000);

test('votes are counted; a second vote of the same person replaces the first', async () => {
  assert.match(await app.page(`${VOTE}/`), /^Cats or Dogs\? \(vote-/);
  for (const [voter, vote] of ['a', 'a', 'b'].entries())
    await app.page(`${VOTE}/`, '-d', `voter=v${voter}&vote=${vote}`);
  await counted(2, 1);
  await app.page(`${VOTE}/`, '-d', 'voter=v0&vote=b');
  await counted(1, 2);
});

test('no vote is lost while the page for votes is replaced', async () => {
  const requests = [{ url: `${VOTE}/`, method: 'POST', body: 'voter=load&vote=a', expect: '^Cats\n$' }];
  await app.underLoad(requests, () => app.rollOut('Deployment', 'vote', 'vote'));
  await counted(2, 2);
});

test('the database keeps its content when its pod is replaced', async () => {
  if (!FULL) await app.cluster.cli('delete', 'pod', '-n', 'vote', '-l', 'app=db');
  else await app.rollOut('Deployment', 'db', 'vote');
  await counted(2, 2);
  await app.page(`${VOTE}/`, '-d', 'voter=late&vote=b');
  await counted(2, 3);
});

test.run();
