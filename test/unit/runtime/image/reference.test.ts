import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { canonicalName, familiarName, parseReference } from '../../../../src/runtime/image/reference.ts';

const DIGEST = `sha256:${'ab'.repeat(32)}`;

test('a name without registry is of docker.io, without path of its library, without tag the latest', () => {
  const names: Record<string, string> = {
    nginx: 'docker.io/library/nginx:latest',
    'nginx:1.27': 'docker.io/library/nginx:1.27',
    'docker.io/nginx:1.27': 'docker.io/library/nginx:1.27',
    'index.docker.io/library/nginx': 'docker.io/library/nginx:latest',
    'team/shop:1': 'docker.io/team/shop:1',
    'quay.io/team/shop': 'quay.io/team/shop:latest',
    'localhost/shop:1': 'localhost/shop:1',
    'localhost:5000/shop': 'localhost:5000/shop:latest',
    [`nginx:1@${DIGEST}`]: 'docker.io/library/nginx:1',
    [`nginx@${DIGEST}`]: `docker.io/library/nginx@${DIGEST}`,
  };
  for (const [text, name] of Object.entries(names)) assert.is(canonicalName(text), name, text);
});

test('what is not a name is refused', () => {
  const wrong = [
    '',
    'No Name',
    'nginx:',
    'a//b',
    '../etc',
    'nginx@sha256:00',
    'a@b@c',
    'UPPER',
    'x'.repeat(600),
    'a b:1',
  ];
  for (const text of wrong) {
    assert.is(parseReference(text), undefined, text);
    assert.throws(() => canonicalName(text), 'is not a name of an image');
  }
});

test('people read names without the default registry', () => {
  assert.is(familiarName('docker.io/library/nginx:1'), 'nginx:1');
  assert.is(familiarName('docker.io/team/shop:1'), 'team/shop:1');
  assert.is(familiarName('quay.io/team/shop:1'), 'quay.io/team/shop:1');
});

test.run();
