import assert from 'node:assert/strict';
import test from 'node:test';
import { onlyVersion, onlyVersionOfSequences } from '../../conformance/mosquitto-version.ts';

test('onlyVersion: calls of the other version are taken out, blocks stay whole', () => {
  const script =
    'def do_test(proto_ver):\n    gen(proto_ver=proto_ver)\n\nif True:\n    do_test(proto_ver=4)\n    do_test(proto_ver=5)\n';
  assert.match(onlyVersion(script, 3) ?? '', /do_test\(proto_ver=4\)\n {4}pass\n$/);
  assert.match(onlyVersion(script, 5) ?? '', /pass\n {4}do_test\(proto_ver=5\)\n$/);
});

test('onlyVersion: positional versions, further arguments and loops', () => {
  assert.equal(onlyVersion('do_test(4, True)\ndo_test(5, False)\n', 5), 'pass\ndo_test(5, False)\n');
  assert.equal(
    onlyVersion('do_test(port, proto_ver=3)\ndo_test(port, proto_ver=5)\n', 3),
    'do_test(port, proto_ver=3)\npass\n',
  );
  assert.equal(onlyVersion('for proto_ver in [3, 4, 5]:', 3), 'for proto_ver in [3, 4]:');
  assert.equal(onlyVersion('for proto_ver in [3, 4, 5]:', 5), 'for proto_ver in [5]:');
});

test('onlyVersion: a script that holds one version alone is left to that one', () => {
  const five = 'connect = gen_connect("a", proto_ver=5)\n';
  assert.equal(onlyVersion(five, 5), five);
  assert.equal(onlyVersion(five, 3), undefined);
  const three = 'connect = gen_connect("a")\n';
  assert.equal(onlyVersion(three, 3), three);
  assert.equal(onlyVersion(three, 5), undefined);
});

test('onlyVersion: a number that is no version is no reason to take a call out', () => {
  assert.equal(onlyVersion('do_test(1)\n', 3), 'do_test(1)\n');
  assert.equal(onlyVersion('do_test("4 topics", False)\n', 3), 'do_test("4 topics", False)\n');
});

test('onlyVersionOfSequences: the version of a test beats that of its group, and 3.1.1 is the default', () => {
  const groups = [
    { group: 'a', tests: [{ name: '1' }, { name: '2', ver: 5 }] },
    { group: 'b', ver: 5, tests: [{ name: '3' }, { name: '4', ver: 3 }] },
  ];
  const names = (version: 3 | 5): string[] =>
    (JSON.parse(onlyVersionOfSequences(JSON.stringify(groups), version)) as typeof groups).flatMap(
      ({ tests }) => tests.map(({ name }) => name),
    );
  assert.deepEqual(names(3), ['1', '4']);
  assert.deepEqual(names(5), ['2', '3']);
});
