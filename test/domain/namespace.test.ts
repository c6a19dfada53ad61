import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  isReservedName,
  isSegment,
  isServiceName,
  isWithin,
  levelOf,
  ownersOf,
  parseDevicePath,
  parseNamespacePath,
} from '../../domain/namespace.ts';

const segment = fc
  .string({ unit: fc.constantFrom('a', 'Z', '7', '.', '_', '-'), minLength: 1, maxLength: 20 })
  .filter((text) => !/^\.+$/.test(text));

test('isSegment: 1 to 20 of letters, digits and ._- which do not climb', () => {
  for (const text of ['a', 'ms-acc-1', 'A_b.C-9', '..a', 'a'.repeat(20)]) assert.ok(isSegment(text), text);
  for (const text of [
    '',
    '.',
    '..',
    '...',
    'a'.repeat(21),
    'a b',
    'a/b',
    'ä',
    'a\n',
    '+',
    '#',
    '$SYS',
    'a\0',
    '%2e',
  ]) {
    assert.ok(!isSegment(text), JSON.stringify(text));
  }
});

test('parseNamespacePath: one to three segments, and the level says which', () => {
  fc.assert(
    fc.property(fc.array(segment, { minLength: 1, maxLength: 5 }), (segments) => {
      const text = segments.join('/');
      const path = parseNamespacePath(text);
      if (segments.length > 3) assert.equal(path, undefined);
      else {
        assert.equal(path, text);
        assert.equal(
          levelOf(path ?? assert.fail()),
          ['master-account', 'account', 'device'][segments.length - 1],
        );
        assert.ok(text.length <= 64); // ub-common-name
      }
    }),
  );
});

test('parseNamespacePath: refuses what is no path, and what is the vendor’s', () => {
  for (const text of [
    '',
    '/',
    'a/',
    '/a',
    'a//b',
    'a/b/c/d',
    'a/../b',
    'a/b/.',
    'a b',
    'vendor',
    'vendor/x',
    'Vendor-broker',
    'VENDOR',
    'mro-admin',
    'MRO-Admin/a',
  ]) {
    assert.equal(parseNamespacePath(text), undefined, text);
  }
  // Reserved is the first segment alone, and whole words of it.
  for (const text of ['vendors', 'a/vendor', 'a/vendor-x/MRO-Admin', 'MRO-Admins']) {
    assert.equal(parseNamespacePath(text), text);
  }
});

test('parseDevicePath: three segments, nothing else', () => {
  assert.equal(parseDevicePath('a/b/c'), 'a/b/c');
  for (const text of ['a', 'a/b', 'a/b/c/d', 'vendor/b/c'])
    assert.equal(parseDevicePath(text), undefined, text);
});

test('isServiceName: a reserved name in its own spelling, never a path', () => {
  for (const text of ['vendor-snapshot-service', 'vendor-x', 'MRO-Admin']) {
    assert.ok(isServiceName(text) && isReservedName(text) && parseNamespacePath(text) === undefined, text);
  }
  for (const text of [
    'vendor',
    'vendor-',
    'Vendor-broker',
    'vendor-Broker',
    'mro-admin',
    'vendor-a/b',
    'vendor_x',
    `vendor-${'x'.repeat(34)}`,
  ]) {
    assert.ok(!isServiceName(text), text);
  }
});

test('isWithin: a path is within itself and what is above it, segment by segment', () => {
  assert.ok(!isWithin('ms-acc-10', 'ms-acc-1'));
  assert.ok(!isWithin('ms-acc-1', 'ms-acc-1/acc-1'));
  fc.assert(
    fc.property(
      fc.array(segment, { minLength: 1, maxLength: 3 }),
      fc.array(segment, { minLength: 1, maxLength: 3 }),
      (path, scope) => {
        const isPrefix = scope.every((level, index) => level === path[index]);
        assert.equal(isWithin(path.join('/'), scope.join('/')), isPrefix);
        for (let length = 1; length <= path.length; length++) {
          assert.ok(isWithin(path.join('/'), path.slice(0, length).join('/')));
        }
      },
    ),
  );
});

test('ownersOf: every path above, the highest first', () => {
  const ownersOfText = (text: string) => ownersOf(parseNamespacePath(text) ?? assert.fail(text));
  assert.deepEqual(ownersOfText('ms-acc-1/acc-1/dev-1'), ['ms-acc-1', 'ms-acc-1/acc-1']);
  assert.deepEqual(ownersOfText('ms-acc-1/acc-1'), ['ms-acc-1']);
  assert.deepEqual(ownersOfText('ms-acc-1'), []);
});
