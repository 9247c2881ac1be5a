import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { junitReport } from '../../../../src/cli/output/junit.ts';

const test = suite('JUnit report');

test('one test case, with its failure; what XML does not allow is escaped or left out', () => {
  const passed = { name: 'npm test', suite: 'run', seconds: 1.5, failure: undefined };
  assert.match(
    junitReport(passed),
    /<testsuite name="run" tests="1" failures="0" errors="0" skipped="0" time="1.500">/,
  );
  assert.match(junitReport(passed), /<testcase classname="run" name="npm test" time="1.500"\/>/);
  const report = junitReport({ ...passed, name: 'sh -c "a < b & c\u0007"', failure: 'exit status 3' });
  assert.match(report, /failures="1"/);
  assert.match(report, /name="sh -c &quot;a &lt; b &amp; c &quot;"/);
  assert.match(report, /<failure message="exit status 3"\/>/);
});

test.run();
