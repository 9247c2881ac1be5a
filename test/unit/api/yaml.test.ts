/** YAML as kubectl reads it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readYaml } from '../../../src/api/yaml.ts';

test('plain scalars are those of YAML 1.1, as in go-yaml', () => {
  const rows: [string, unknown][] = [
    ['0755', 0o755],
    ['0400', 256],
    ['0x1F', 31],
    ['0b101', 5],
    ['1_000', 1000],
    ['yes', true],
    ['Off', false],
    ['"yes"', 'yes'],
    ['~', null],
    ['1e3', 1000],
    ['22:22', '22:22'],
    ['190:20:30', '190:20:30'],
    ['2001-12-14', '2001-12-14'],
    ['2001-12-14T21:59:43Z', '2001-12-14T21:59:43Z'],
    ['100m', '100m'],
    ['1.27.0', '1.27.0'],
  ];
  for (const [text, value] of rows) assert.equal(readYaml(`a: ${text}`), { a: value }, text);
});

test('merge keys add the members of their mappings; members beside them take precedence', () => {
  const text = 'base: &base {image: a, tty: true}\nmine:\n  <<: *base\n  image: b\n';
  assert.equal((readYaml(text) as { mine: object }).mine, { image: 'b', tty: true });
});

test('duplicate keys are refused, and so is exponential expansion of aliases', () => {
  assert.throws(() => readYaml('a: 1\nb: 2\na: 3\n'), /Map keys must be unique/);
  const levels = Array.from({ length: 9 }, (_, i) => `l${i + 1}: &l${i + 1} [${`*l${i},`.repeat(9)}]`);
  assert.throws(() => readYaml(`l0: &l0 x\n${levels.join('\n')}\n`), /alias/i);
});

test.run();
