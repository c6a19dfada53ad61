import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { connectDatabase, withoutPassword } from '../../database/connect.ts';
import { faultOf } from '../../database/errors.ts';
import { migrate } from '../../database/migrate.ts';

test('connectDatabase: a file that must exist is not made, whatever its name', async (context) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'plombe-connect-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = path.join(folder, 'a #%3F?mode=memory&b.db');
  const url = `sqlite:${file}`;
  await assert.rejects(
    () => connectDatabase(url, { mustExist: true }),
    (error) => faultOf(error) === 'gone',
  );
  assert.equal(existsSync(file), false);
  const made = await connectDatabase(url);
  await migrate(made);
  await made.close();
  const opened = await connectDatabase(url, { mustExist: true });
  context.after(() => opened.close());
  assert.deepEqual(await migrate(opened), []);
  assert.equal(existsSync(file), true);
});

test('connectDatabase: a server may be named by its IPv6 address', async () => {
  const database = await connectDatabase('mysql://root@[::1]:1/plombe');
  try {
    await assert.rejects(
      () => migrate(database),
      (error) => !String(error).includes('ENOTFOUND') && faultOf(error) === 'gone',
    );
  } finally {
    await database.close();
  }
});

test('withoutPassword: shows nothing of a password, whatever is in it', () => {
  for (const password of ['secret', 'se@cret', 'se/cr@et', 'se:c@re?t'])
    assert.equal(
      withoutPassword(`mysql://anna:${password}@host:3306/plombe`),
      'mysql://anna:…@host:3306/plombe',
    );
  for (const url of ['mysql://anna@host/plombe', 'mysql://host:3306/plombe', 'sqlite:/var/lib/plombe.db'])
    assert.equal(withoutPassword(url), url);
});
