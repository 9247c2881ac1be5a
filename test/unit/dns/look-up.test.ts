/** `dns query`: the candidates of a name, as glibc goes through them, and records as dig prints them. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { candidates, parseResolvConf, recordText } from '../../../src/dns/look-up.ts';

const test = suite('look-up of names');

const POD = `search default.svc.cluster.local svc.cluster.local cluster.local
nameserver 10.96.0.10
options ndots:5 timeout:2
`;

test('resolv.conf: the last search list counts, at most three servers, ndots at most 15', () => {
  assert.equal(parseResolvConf(POD), {
    servers: ['10.96.0.10'],
    search: ['default.svc.cluster.local', 'svc.cluster.local', 'cluster.local'],
    ndots: 5,
  });
  const many =
    'domain a\nsearch b c\nnameserver 1.1.1.1\nnameserver 2.2.2.2\nnameserver 3.3.3.3\nnameserver 4.4.4.4\noptions ndots:99';
  assert.equal(parseResolvConf(many), { servers: ['1.1.1.1', '2.2.2.2', '3.3.3.3'], search: ['b', 'c'], ndots: 15 });
  assert.equal(parseResolvConf('# nothing\n'), { servers: [], search: [], ndots: 1 });
});

test('a name with fewer dots than ndots goes through the search list first; an absolute one never', () => {
  const settings = { search: ['default.svc.cluster.local', 'cluster.local'], ndots: 2 };
  assert.equal(candidates('web', settings), ['web.default.svc.cluster.local.', 'web.cluster.local.', 'web.']);
  assert.equal(candidates('a.b.c', settings), ['a.b.c.', 'a.b.c.default.svc.cluster.local.', 'a.b.c.cluster.local.']);
  assert.equal(candidates('web.', settings), ['web.']);
});

test('records are printed as dig prints them', () => {
  assert.is(
    recordText({ name: 'web.x', type: 'A', ttl: 5, class: 'IN', data: '10.96.0.1' }),
    'web.x. 5 IN A 10.96.0.1',
  );
  const srv = { priority: 0, weight: 50, port: 80, target: 'a.web.x' };
  assert.is(
    recordText({ name: '_http._tcp.web.x', type: 'SRV', ttl: 5, class: 'IN', data: srv }),
    '_http._tcp.web.x. 5 IN SRV 0 50 80 a.web.x.',
  );
  assert.is(
    recordText({ name: 'x', type: 'CNAME', ttl: 5, class: 'IN', data: 'example.org' }),
    'x. 5 IN CNAME example.org.',
  );
  assert.is(recordText({ name: 'x', type: 'AAAA', ttl: 5, class: 'IN', data: 'fd00::a' }), 'x. 5 IN AAAA fd00::a');
  assert.is(
    recordText({ name: 'x', type: 'TXT', ttl: 5, class: 'IN', data: [Buffer.from('1.1.0')] }),
    'x. 5 IN TXT "1.1.0"',
  );
});

test.run();
