import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { loadRules } from '../../bpm/rules.ts';

function folderWith(context: TestContext, files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'plombe-rules-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(path.join(folder, name), text);
  return folder;
}

const fallback = 'deviceType: default\ntitle: Device\n';

void test('loadRules: a short rule is one comparison, and what is not said has a default', (context) => {
  const folder = folderWith(context, {
    'default.yaml': fallback,
    'X.yaml': 'deviceType: X\ntitle: X\nabnormal:\n  - { channel: a.b, is: ">=", limit: { channel: a.c } }\n',
  });
  const rules = loadRules(folder).byType.get('X');
  assert.deepEqual(rules?.abnormal, [
    { all: [{ channel: 'a.b', is: '>=', limit: { channel: 'a.c' } }], because: undefined },
  ]);
  assert.deepEqual(rules?.hold, { normal: 3, abnormal: 2, overdue: 2 });
});

void test('loadRules: every fault of a file is named with its place', (context) => {
  const folder = folderWith(context, {
    'X.yaml':
      'deviceType: X\ntitle: X\nhold: { abnormal: 0 }\ngauges:\n  - { label: A, channel: "a b" }\nunknown: 1\n',
  });
  assert.throws(
    () => loadRules(folder),
    (error: Error) => {
      assert.match(error.message, /hold\.abnormal/);
      assert.match(error.message, /gauges\[0\]\.channel: is no channel name/);
      assert.match(error.message, /unknown: no such setting/);
      return true;
    },
  );
});

void test('loadRules: an unknown comparator, two files for one type, and no default are refused', (context) => {
  const x = 'deviceType: X\ntitle: X\n';
  const cases: readonly [Readonly<Record<string, string>>, RegExp][] = [
    [{ 'X.yaml': `${x}abnormal:\n  - { channel: a, is: "~", limit: 1 }\n` }, /abnormal\[0\]/],
    [{ 'default.yaml': fallback, 'X.yaml': x, 'Y.yaml': x }, /has rules in another file already/],
    [{ 'X.yaml': x }, /no file with "deviceType: default"/],
    [
      { 'default.yaml': `${fallback}gauges:\n  - { label: A, channel: a, full: 1, empty: 1 }\n` },
      /are the same/,
    ],
  ];
  for (const [files, message] of cases)
    assert.throws(() => loadRules(folderWith(context, files)), { message });
});
