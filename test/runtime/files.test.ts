import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { writeFileAtomically } from '../../runtime/files.ts';

const directory = mkdtempSync(path.join(tmpdir(), 'plombe-files-'));
after(() => rmSync(directory, { recursive: true, force: true }));

test('writeFileAtomically: makes folders, replaces content, keeps the mode, leaves nothing beside it', () => {
  const file = path.join(directory, 'a', 'b', 'key.pem');
  writeFileAtomically(file, 'old', 0o600);
  writeFileAtomically(file, Buffer.from('new'), 0o600);
  assert.equal(readFileSync(file, 'utf8'), 'new');
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(path.dirname(file)), ['key.pem']);
});

test('writeFileAtomically: a failure leaves the old file and no other', () => {
  const file = path.join(directory, 'folder');
  writeFileAtomically(path.join(file, 'inside'), 'x');
  assert.throws(() => writeFileAtomically(file, 'cannot replace a folder'));
  assert.deepEqual(readdirSync(directory).toSorted(), ['a', 'folder']);
});
