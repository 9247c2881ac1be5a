/** Responses kept as bytes. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AnswerCache } from '../../../src/dns/answer-cache.ts';

const query = (id: number, rest: string) => Buffer.concat([Buffer.from([id >> 8, id & 0xff]), Buffer.from(rest)]);

test('the response to the same query has the identifier of the new one; the kept bytes stay as they are', () => {
  const cache = new AnswerCache();
  cache.keep(query(1, 'web A'), query(1, 'web is 1'));
  assert.equal(cache.find(query(0x1234, 'web A'), 0), query(0x1234, 'web is 1'));
  assert.equal(cache.find(query(5, 'web A'), 0), query(5, 'web is 1'));
  assert.is(cache.find(query(1, 'WEB A'), 0), undefined, 'another letter case is another query');
});

test('a changed zone drops all responses', () => {
  const cache = new AnswerCache();
  assert.is(cache.find(query(1, 'web A'), 7), undefined);
  cache.keep(query(1, 'web A'), query(1, 'web is 1'));
  assert.ok(cache.find(query(1, 'web A'), 7));
  assert.is(cache.find(query(1, 'web A'), 8), undefined);
});

test('its memory is bounded: long queries are not kept, and many different ones replace each other', () => {
  const cache = new AnswerCache();
  cache.keep(query(1, 'x'.repeat(300)), query(1, 'answer'));
  assert.is(cache.find(query(1, 'x'.repeat(300)), 0), undefined);
  for (let i = 0; i < 10_000; i++) cache.keep(query(1, `name${i}`), query(1, 'answer'));
  const kept = Array.from({ length: 10_000 }, (_, i) => cache.find(query(1, `name${i}`), 0)).filter(Boolean);
  assert.ok(kept.length <= 4096);
  assert.ok(cache.find(query(1, 'name9999'), 0));
});

test.run();
