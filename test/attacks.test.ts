import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';

/** Attack, by whom, and `file`: name of the test. */
const rowPattern = /^\|[^|]+\|[^|]+\| `(test\/[^`]+)`: ([^|]+?) *\|/;
const root = path.resolve(import.meta.dirname, '..');

test('docs/attacks.md: every attack names a test that is there', () => {
  const rows = readFileSync(path.join(root, 'docs/attacks.md'), 'utf8')
    .split('\n')
    .flatMap((line) => {
      const [, file, name] = rowPattern.exec(line) ?? [];
      return file === undefined || name === undefined ? [] : [{ file, name }];
    });
  assert.ok(rows.length > 20, `${rows.length} rows`);
  for (const { file, name } of rows) {
    const code = readFileSync(path.join(root, file), 'utf8');
    assert.ok(code.includes(`test('${name}'`), `${file} has no test "${name}"`);
  }
});
