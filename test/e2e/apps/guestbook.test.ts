/** The guestbook: a frontend that writes to the leader of Redis and reads from its followers. */
import * as assert from 'uvu/assert';
import { applicationSuite, FULL } from '../../lib/applications.ts';
import { eventually } from '../../lib/cluster.ts';

const { test, app } = applicationSuite('guestbook', {
  longForm: true,
  files: 'guestbook',
  programs: ['redis-server', 'redis-cli'],
});
const BOOK = 'http://172.18.0.12:30081';
const entries = async () => JSON.parse(await app.page(`${BOOK}/entries`)) as string[];

test('an entry that was written is read, from both followers', async () => {
  assert.is(await app.page(`${BOOK}/entries`, '-d', 'hello'), '1\n');
  assert.is(await app.page(`${BOOK}/entries`, '-d', 'second'), '2\n');
  await eventually(async () => ((await entries()).length === 2 ? true : undefined));
  const { items } = await app.api.list('Pod', { namespace: 'default', labelSelector: 'role=follower' });
  assert.is(items.length, 2);
  for (const { metadata } of items) {
    const list = ['exec', metadata.name, '--', 'redis-cli', 'lrange', 'entries', '0', '-1'];
    assert.is(await app.cluster.cli(...list), 'hello\nsecond\n');
  }
});

test('frontends are replaced without a failed request, followers without a lost entry', async () => {
  const requests = [
    { url: `${BOOK}/entries`, expect: '^\\["hello","second"' },
    { url: `${BOOK.replace('12', '11')}/`, expect: '^guestbook on frontend-' },
  ];
  await app.underLoad(requests, () => app.rollOut('Deployment', 'frontend'));
  if (FULL) {
    await app.rollOut('Deployment', 'redis-follower');
    await eventually(async () => ((await entries()).length === 2 ? true : undefined));
  }
});

test.run();
