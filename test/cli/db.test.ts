import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { plombe } from '../system/process.ts';

test('plombe db check, copy: a file that is not there is said to be missing, and is not made', async (context) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'plombe-cli-db-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  const missing = `sqlite:${path.join(folder, 'misspelt.db')}`;
  const checked = await plombe('db', 'check', '--database', missing);
  assert.equal(checked.status, 1);
  assert.match(checked.stderr, /^plombe: cannot open .*misspelt\.db: .*\n$/);
  const copied = await plombe(
    'db',
    'copy',
    '--from',
    missing,
    '--to',
    `sqlite:${path.join(folder, 'new.db')}`,
  );
  assert.equal(copied.status, 1);
  assert.deepEqual(readdirSync(folder), []);
});
