import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { accountOf } from '../../../../src/runtime/launcher/account.ts';

const PASSWD = 'root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001::/home/web:/bin/sh\n1234:x:5:5::/five:\nbad line\n';
const GROUP = 'root:x:0:\nweb:x:1001:\nmore:x:2000:root,web\nother:x:3000:web\nwrong:x:-1:web\n';

const of = (imageUser: string, more: { user?: number; group?: number } = {}) => {
  const { uid, gid, groups, home } = accountOf({ imageUser, ...more }, PASSWD, GROUP);
  return [uid, gid, groups.join(' '), home].join(',');
};

test('no user is root', () => {
  assert.is(of(''), '0,0,2000,/root');
  assert.equal(accountOf({ imageUser: '' }, '', ''), { uid: 0, gid: 0, groups: [], home: '/' });
});

test('a name or a number is looked up; a number need not be listed', () => {
  assert.is(of('web'), '1000,1001,2000 3000,/home/web');
  assert.is(of('1000'), '1000,1001,2000 3000,/home/web');
  assert.is(of('77'), '77,0,,/');
  assert.is(of('1234'), '5,5,,/five');
});

test('a group after the colon is by name or number', () => {
  assert.is(of('web:more'), '1000,2000,3000,/home/web');
  assert.is(of('77:88'), '77,88,,/');
  assert.is(of(':88'), '0,88,2000,/root');
});

test('runAsUser and runAsGroup override; the image’s group goes with its user', () => {
  assert.is(of('web:more', { user: 0 }), '0,0,2000,/root');
  assert.is(of('web', { user: 7, group: 8 }), '7,8,,/');
  assert.is(of('web', { group: 8 }), '1000,8,2000 3000,/home/web');
});

test('supplementary groups of the pod are added', () => {
  const { groups } = accountOf({ imageUser: 'web', groups: [7, 1001, 2000] }, PASSWD, GROUP);
  assert.equal(groups, [2000, 3000, 7]);
});

test('a name without an entry is an error, and a number that is not an id', () => {
  assert.throws(() => of('absent'), 'unable to find user absent: no matching entries in passwd file');
  assert.throws(() => of('web:absent'), 'unable to find group absent: no matching entries in group file');
  assert.throws(() => of('99999999999'), 'unable to find user');
});

test.run();
