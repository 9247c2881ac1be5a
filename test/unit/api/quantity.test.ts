import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Quantity } from '../../../src/api/quantity.ts';

const text = (given: string | number) => String(Quantity.parse(given));

test('a quantity is printed in its canonical form', () => {
  // Given, and what Kubernetes makes of it (apimachinery/pkg/api/resource/quantity_test.go has cases of each kind).
  const cases: [string | number, string][] = [
    ['0', '0'],
    ['0Ki', '0'],
    ['100m', '100m'],
    ['0.5', '500m'],
    ['1.5', '1500m'],
    [2, '2'],
    ['1000m', '1'],
    ['1000', '1k'],
    ['1024Ki', '1Mi'],
    ['512Mi', '512Mi'],
    ['1536Mi', '1536Mi'],
    ['1Ki', '1Ki'],
    ['0.5Ki', '512'],
    ['1.5Gi', '1536Mi'],
    ['1e3', '1e3'],
    ['12e6', '12e6'],
    ['0.1n', '1n'],
    ['-1500m', '-1500m'],
    ['10E', '9223372036854775807'],
  ];
  for (const [given, canonical] of cases) assert.is(text(given), canonical, String(given));
});

test('what is no quantity is refused', () => {
  for (const given of ['', '.', 'm', '1 Gi', '1gi', '1Kib', 'e3', '--1', undefined]) {
    assert.is(Quantity.parse(given), undefined, String(given));
  }
});

test('a sum has the suffixes of its first operand, of zero those of the second', () => {
  const sum = (a: string, b: string) => String(Quantity.from(a).plus(Quantity.from(b)));
  assert.is(sum('1Gi', '512Mi'), '1536Mi');
  assert.is(sum('0', '512Mi'), '512Mi');
  assert.is(sum('100m', '0.9'), '1');
  assert.is(String(Quantity.from('1').minus(Quantity.from('300m'))), '700m');
});

test('fractions are rounded up to whole numbers and to thousandths', () => {
  assert.is(Quantity.from('1001m').value, 2);
  assert.is(Quantity.from('1u').millis, 1);
  assert.ok(Quantity.from('1Gi').exceeds(Quantity.from('1G')));
});

test.run();
