import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PatchError, PatchTooLargeError } from '../../../../src/api/patches/json.ts';
import { jsonPatch } from '../../../../src/api/patches/json-patch.ts';
import { mergePatch } from '../../../../src/api/patches/merge-patch.ts';
import { strategicMergePatch } from '../../../../src/api/patches/strategic.ts';

const POD = 'k8s.io.api.core.v1.Pod';
const SERVICE = 'k8s.io.api.core.v1.Service';
const DEPLOYMENT = 'k8s.io.api.apps.v1.Deployment';

test('merge patch: the examples of RFC 7396, appendix A', () => {
  const rows: [unknown, unknown, unknown][] = [
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
    [{ a: 'b' }, { a: null }, {}],
    [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
    [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
    [
      ['a', 'b'],
      ['c', 'd'],
      ['c', 'd'],
    ],
    [{ a: 'b' }, ['c'], ['c']],
    [{ a: 'foo' }, null, null],
    [{ a: 'foo' }, 'bar', 'bar'],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: 'b', c: null }, { a: 'b' }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ];
  for (const [target, patch, result] of rows) assert.equal(mergePatch(target, patch), result);
});

test('JSON patch: operations of RFC 6902, appendix A', () => {
  const rows: [unknown, unknown[], unknown][] = [
    [{ foo: 'bar' }, [{ op: 'add', path: '/baz', value: 'qux' }], { foo: 'bar', baz: 'qux' }],
    [{ foo: ['bar', 'baz'] }, [{ op: 'add', path: '/foo/1', value: 'qux' }], { foo: ['bar', 'qux', 'baz'] }],
    [{ foo: ['bar'] }, [{ op: 'add', path: '/foo/-', value: ['abc'] }], { foo: ['bar', ['abc']] }],
    [{ baz: 'qux', foo: 'bar' }, [{ op: 'remove', path: '/baz' }], { foo: 'bar' }],
    [{ foo: ['bar', 'qux', 'baz'] }, [{ op: 'remove', path: '/foo/1' }], { foo: ['bar', 'baz'] }],
    [{ baz: 'qux' }, [{ op: 'replace', path: '/baz', value: 'boo' }], { baz: 'boo' }],
    [{ a: ['x', 'y'] }, [{ op: 'replace', path: '/a/0', value: 'z' }], { a: ['z', 'y'] }],
    [
      { foo: { w: 'fred' }, qux: {} },
      [{ op: 'move', from: '/foo/w', path: '/qux/t' }],
      { foo: {}, qux: { t: 'fred' } },
    ],
    [{ foo: ['a', 'g', 'c', 'e'] }, [{ op: 'move', from: '/foo/1', path: '/foo/3' }], { foo: ['a', 'c', 'e', 'g'] }],
    [{ a: { b: 1 } }, [{ op: 'copy', from: '/a', path: '/c' }], { a: { b: 1 }, c: { b: 1 } }],
    [{ '/': 9, '~1': 10 }, [{ op: 'test', path: '/~01', value: 10 }], { '/': 9, '~1': 10 }],
  ];
  for (const [target, patch, result] of rows) assert.equal(jsonPatch(target, patch), result);
  // Unlike in the RFC, and as in kube-apiserver.
  assert.equal(jsonPatch({ foo: 1 }, [{ op: 'replace', path: '/bar', value: 2 }]), { foo: 1, bar: 2 });
  const fails: [unknown, unknown][] = [
    [{ baz: 'qux' }, [{ op: 'test', path: '/baz', value: 'bar' }]],
    [{ foo: 'bar' }, [{ op: 'add', path: '/baz/bat', value: 'qux' }]],
    [{ foo: [1] }, [{ op: 'remove', path: '/foo/1' }]],
    [{ foo: [1] }, [{ op: 'replace', path: '/foo/1', value: 1 }]],
    [{ foo: 1 }, [{ op: 'replace', path: '/bar/baz', value: 1 }]],
    [{}, [{ op: 'fly', path: '/a' }]],
    [{}, { op: 'add' }],
  ];
  for (const [target, patch] of fails)
    assert.throws(
      () => jsonPatch(target, patch),
      (e: Error) => e instanceof PatchError,
    );
});

test('JSON patch does not change its target, not even when a later operation fails', () => {
  const target = { a: [1] };
  const patch = [
    { op: 'add', path: '/a/-', value: 2 },
    { op: 'test', path: '/a/0', value: 9 },
  ];
  assert.throws(() => jsonPatch(target, patch));
  assert.equal(target, { a: [1] });
});

test('strategic merge patch: lists with a merge key are merged, others replaced', () => {
  const target = {
    kind: 'Pod',
    spec: {
      containers: [{ name: 'a', image: '1', args: ['x'], ports: [{ containerPort: 80, name: 'h' }] }, { name: 'b' }],
    },
  };
  const patch = {
    spec: { containers: [{ name: 'a', image: '2', args: ['y'], ports: [{ containerPort: 81 }] }, { name: 'c' }] },
  };
  assert.equal(strategicMergePatch(target, patch, POD), {
    kind: 'Pod',
    spec: {
      containers: [
        { name: 'a', image: '2', args: ['y'], ports: [{ containerPort: 80, name: 'h' }, { containerPort: 81 }] },
        { name: 'b' },
        { name: 'c' },
      ],
    },
  });
});

test('strategic: $patch, $deleteFromPrimitiveList, $setElementOrder, $retainKeys', () => {
  const target = {
    metadata: { finalizers: ['a', 'b'] },
    spec: { ports: [{ port: 1 }, { port: 2 }, { port: 3 }], sessionAffinityConfig: { a: 1, b: 2 } },
  };
  const patch = {
    metadata: { '$deleteFromPrimitiveList/finalizers': ['a'], finalizers: ['c'] },
    spec: {
      ports: [{ port: 2, $patch: 'delete' }, { port: 4 }],
      '$setElementOrder/ports': [{ port: 4 }, { port: 3 }, { port: 1 }],
      sessionAffinityConfig: { $retainKeys: ['b', 'c'], c: 3 },
    },
  };
  assert.equal(strategicMergePatch(target, patch, SERVICE), {
    metadata: { finalizers: ['b', 'c'] },
    spec: { ports: [{ port: 4 }, { port: 3 }, { port: 1 }], sessionAffinityConfig: { b: 2, c: 3 } },
  });
  const replaced = strategicMergePatch({ spec: { a: 1 } }, { spec: { $patch: 'replace', z: 1 } }, SERVICE);
  assert.equal(replaced, { spec: { z: 1 } });
});

test('strategic merge patch: merge keys come from the published type, not from the name of the list', () => {
  const ports = { spec: { template: { spec: { containers: [{ name: 'a', ports: [{ containerPort: 1 }] }] } } } };
  const more = { spec: { template: { spec: { containers: [{ name: 'a', ports: [{ containerPort: 2 }] }] } } } };
  const merged = strategicMergePatch(ports, more, DEPLOYMENT) as typeof ports;
  assert.equal(merged.spec.template.spec.containers[0]!.ports, [{ containerPort: 1 }, { containerPort: 2 }]);
  const tolerations = (key: string) => ({ spec: { tolerations: [{ key }] } });
  assert.equal(strategicMergePatch(tolerations('a'), tolerations('b'), POD), tolerations('b'), 'atomic');
  const endpoints = (ip: string) => ({ subsets: [{ addresses: [{ ip }] }] });
  const type = 'k8s.io.api.core.v1.Endpoints';
  assert.equal(strategicMergePatch(endpoints('1.1.1.1'), endpoints('2.2.2.2'), type), endpoints('2.2.2.2'));
});

test('strategic merge patch: $setElementOrder alone reorders; a missing key or an unknown directive is refused', () => {
  const target = { spec: { containers: [{ name: 'a' }, { name: 'b' }] } };
  const order = { spec: { '$setElementOrder/containers': [{ name: 'b' }, { name: 'a' }] } };
  assert.equal(strategicMergePatch(target, order, POD), { spec: { containers: [{ name: 'b' }, { name: 'a' }] } });
  for (const spec of [
    { containers: [{ image: 'x' }] },
    { containers: ['x'] },
    { $patch: 'explode' },
    { $retainKeys: [], hostNetwork: true },
    { '$setElementOrder/containers': 7 },
  ]) {
    assert.throws(
      () => strategicMergePatch(target, { spec }, POD),
      (error: Error) => error instanceof PatchError,
    );
  }
});

test('a JSON patch is refused when its copies grow exponentially, or when it has too many operations', () => {
  const doubling = Array.from({ length: 22 }, (_, i) => ({ op: 'copy', from: '', path: `/x${i}` }));
  const begun = process.cpuUsage();
  assert.throws(
    () => jsonPatch({ a: 'a'.repeat(1000) }, doubling),
    (error: Error) => error instanceof PatchTooLargeError && /accumulated size increase of copy/.test(error.message),
  );
  assert.ok(process.cpuUsage(begun).user < 1_000_000, 'in little time');
  const many = Array.from({ length: 10_001 }, () => ({ op: 'test', path: '', value: {} }));
  assert.throws(() => jsonPatch({}, many), 'The allowed maximum operations in a JSON patch is 10000, got 10001');
});

test('a JSON patch is refused when it nests too deeply, or shifts too many list elements', () => {
  const deeper = Array.from({ length: 1200 }, () => ({ op: 'copy', from: '/a', path: '/a/b' }));
  assert.throws(
    () => jsonPatch({ a: { b: 1 } }, deeper),
    (error: Error) => error instanceof PatchTooLargeError,
  );
  const list = Array.from({ length: 100_000 }, () => 1);
  const front = Array.from({ length: 1000 }, () => ({ op: 'add', path: '/0', value: 0 }));
  assert.throws(
    () => jsonPatch(list, front),
    (error: Error) => error instanceof PatchTooLargeError,
  );
});

test('a JSON patch of anything but operations with paths is refused', () => {
  for (const operations of [
    {},
    [null],
    ['add'],
    [{ op: 'add', path: 7, value: 1 }],
    [{ op: 'move', path: '/a', from: {} }],
  ]) {
    assert.throws(
      () => jsonPatch({ a: 1 }, operations),
      (error: Error) => error.name === 'PatchError',
    );
  }
});

test('no patch reaches a prototype', () => {
  const patch = JSON.parse('{"__proto__": {"polluted": true}, "constructor": {"prototype": {"polluted": true}}}');
  mergePatch({}, patch);
  strategicMergePatch({}, patch, POD);
  assert.throws(() => jsonPatch({}, [{ op: 'add', path: '/__proto__/polluted', value: true }]));
  assert.is(({} as { polluted?: boolean }).polluted, undefined);
});

test.run();
