import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { lockFile } from '../../runtime/file-lock.ts';

test('lockFile: one at a time has it, and where there can be no file is an error', (context) => {
  const directory = mkdtempSync(path.join(tmpdir(), 'plombe-file-lock-'));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  const file = path.join(directory, 'lock');
  const first = lockFile(file);
  assert.ok(first);
  assert.equal(lockFile(file), undefined);
  first.unlock();
  lockFile(file)?.unlock();
  assert.throws(() => lockFile(path.join(directory, 'nowhere', 'lock')), { code: 'ERR_SQLITE_ERROR' });
});
