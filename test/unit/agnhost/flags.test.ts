/** Command lines of agnhost, in Go's forms. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseDuration, printDuration } from '../../../src/agnhost/duration.ts';
import { boolean, duration, integer, parseFlags, text } from '../../../src/agnhost/flags.ts';

const FLAGS = { port: integer(80), http: boolean(true), timeout: duration(0, 'd'), name: text('x') };

test('a flag is --name=value or --name value; a boolean alone is true', () => {
  const { values, operands } = parseFlags(FLAGS, ['--port=8080', '--http=false', '--timeout', '1s', 'host:80']);
  assert.equal(values, { port: 8080, http: false, timeout: 1000, name: 'x' });
  assert.equal(operands, ['host:80']);
  assert.is(parseFlags(FLAGS, ['--http']).values.http, true);
  assert.is(parseFlags(FLAGS, ['-d', '2m']).values.timeout, 120_000);
  assert.equal(parseFlags(FLAGS, ['--', '--port=1']).operands, ['--port=1']);
});

test('a wrong flag is refused with the message of Go’s pflag', () => {
  for (const [args, message] of [
    [['--prt=1'], 'unknown flag: --prt'],
    [['--port'], 'flag needs an argument: --port'],
    [['--port=a'], 'invalid argument "a" for "--port" flag'],
    [['--timeout=5'], 'invalid argument "5" for "--timeout" flag'],
    [['--http=maybe'], 'invalid argument "maybe" for "--http" flag'],
  ] as const)
    assert.throws(() => parseFlags(FLAGS, args), message);
});

test('durations are read and printed as Go does', () => {
  for (const [written, ms] of [
    ['1s', 1000],
    ['1m30s', 90_000],
    ['250ms', 250],
    ['1.5h', 5_400_000],
    ['-2s', -2000],
    ['0', 0],
  ] as const)
    assert.is(parseDuration(written), ms, written);
  for (const wrong of ['', '1', 's', '1x', '1s 2s']) assert.is(parseDuration(wrong), undefined, wrong);
  assert.equal([0, 250, 1500, 90_000, 3_600_000].map(printDuration), ['0s', '250ms', '1.5s', '1m30s', '1h0m0s']);
});

test.run();
