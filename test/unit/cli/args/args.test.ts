import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Command, parseCommandLine, printHelp } from '../../../../src/cli/args/args.ts';
import { type CliError, Exit } from '../../../../src/cli/errors.ts';

const test = suite('the command line');

const options = {
  file: { short: 'f', value: 'FILE', multiple: true, help: 'files' },
  nodes: { value: 'N', help: 'number of nodes' },
  watch: { short: 'w', help: 'go on' },
  tty: { short: 't', help: 'terminal' },
  wait: { value: 'SECONDS', optionalValue: true, help: 'how long' },
} satisfies Command['options'];

const parse = (...argv: string[]) => parseCommandLine('try', { options }, argv);

function refusal(...argv: string[]): CliError {
  try {
    parse(...argv);
  } catch (error) {
    return error as CliError;
  }
  throw new Error('expected a usage error');
}

test('options, operands and the arguments after -- are separated', () => {
  const args = parse('pod', '-f', 'a', '--file=b', '--nodes', '3', '-wt', '--', 'ls', '-l', '--nodes');
  assert.equal(args.operands, ['pod']);
  assert.equal(args.rest, ['ls', '-l', '--nodes']);
  assert.equal(args.texts('file'), ['a', 'b']);
  assert.is(args.text('nodes'), '3');
  assert.ok(args.flag('watch'));
  assert.ok(args.flag('tty'));
});

test('a value that may be left out is given with =, and never taken from the next argument', () => {
  const read = Number;
  const alone = parse('--wait', '5');
  assert.ok(alone.has('wait'));
  assert.is(alone.optionalValue('wait', read), undefined);
  assert.equal(alone.operands, ['5']);
  assert.is(parse('--wait=5').optionalValue('wait', read), 5);
  assert.not.ok(parse().has('wait'));
  assert.is(parse().optionalValue('wait', read), undefined);
  assert.match(printHelp({ usage: ['try'], about: '', options, run: async () => {} }), /--wait\[=SECONDS\] +how long/);
});

test('rest is undefined without --, and can be empty with it', () => {
  assert.is(parse('a').rest, undefined);
  assert.equal(parse('a', '--').rest, []);
});

test('a short option may have its value attached', () => {
  assert.equal(parse('-fx.yaml').texts('file'), ['x.yaml']);
});

test('an unknown option is refused with status 2, and a similar one is proposed', () => {
  const error = refusal('--nods', '3');
  assert.is(error.status, Exit.USAGE);
  assert.match(error.message, 'no option --nods');
  assert.match(error.message, 'did you mean --nodes?');
});

test('for an unknown short option no long one is proposed', () => {
  assert.not.match(refusal('-x').message, 'did you mean');
});

test('an error for a missing value has the option', () => {
  assert.match(refusal('--nodes').message, '--nodes needs a value (N)');
});

test('a negative number is taken as the value of its option', () => {
  assert.is(parse('--nodes', '-1').text('nodes'), '-1');
  assert.equal(parse('-f', '-1').texts('file'), ['-1']);
  assert.match(refusal('--nodes', '-f').message, '--nodes needs a value (N)');
  assert.equal(parse('--', '--nodes', '-1').rest, ['--nodes', '-1']);
});

test('two different values of one option are refused with both values', () => {
  assert.match(refusal('--nodes', '2', '--nodes', '3').message, '--nodes is given twice, as 2 and as 3');
  assert.is(parse('--nodes', '2', '--nodes=2').text('nodes'), '2');
  assert.equal(parse('-f', 'a', '-f', 'b').texts('file'), ['a', 'b']);
});

test('a value for a flag is refused', () => {
  assert.match(refusal('--watch=yes').message, '--watch takes no value');
});

test('help has usage, aligned options and examples', () => {
  const text = printHelp({
    usage: ['try X', 'try Y'],
    about: 'Tries.',
    options,
    examples: ['dataplane try'],
    run: async () => {},
  });
  assert.match(text, 'Usage: dataplane try X\n       dataplane try Y\n');
  assert.match(text, '  -f, --file FILE       files\n');
  assert.match(text, '      --nodes N         number of nodes\n');
  assert.match(text, 'Examples:\n  dataplane try\n');
});

test('help fits 80 columns, or a narrower terminal', () => {
  const long = {
    usage: ['try X'],
    about: `${'Some words about it. '.repeat(20)}`,
    options: { 'an-option-with-a-long-name': { value: 'NAME=SECONDS', help: 'explains '.repeat(30).trim() } },
    run: async () => {},
  };
  for (const columns of [80, 60]) {
    for (const line of printHelp(long, columns).split('\n')) assert.ok(line.length <= columns, line);
  }
  assert.match(printHelp(long, 80), /--an-option-with-a-long-name NAME=SECONDS\n {32}explains/);
});

test.run();
