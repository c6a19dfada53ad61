import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import type { Stats } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import test from 'node:test';
import { backupDatabase, restoreDatabase } from '../../database/backup.ts';
import { checkDatabase } from '../../database/check.ts';
import { connectDatabase } from '../../database/connect.ts';
import type { Database } from '../../database/connect.ts';
import { copyDatabase } from '../../database/copy.ts';
import { createIngest } from '../../database/ingest.ts';
import { migrate, requireShape } from '../../database/migrate.ts';
import { inTransaction } from '../../database/statements.ts';
import { chooseStorage, storageForms, storageOf } from '../../database/storage-of.ts';
import { readLatest } from '../../database/latest.ts';
import { snapshotsPerSealing } from '../../database/chunks/seal.ts';
import { addUser } from '../../database/users.ts';
import { arrival } from './arrivals.ts';
import { engines, freshDatabase, freshUrl, testBoth, urlOf } from './engines.ts';

const device = 'ms-acc-1/acc-1/dev-1';
const nowMs = Date.UTC(2026, 5, 1);

async function fill(database: Database, from = 1): Promise<void> {
  const count = 2 * snapshotsPerSealing + 30;
  const arrivals = Array.from({ length: count }, (_, index) =>
    arrival(device, from + index, [
      { channel: 'x', unit: 'bar', value: index === 3 ? -0 : index / 7 },
      { channel: 'text', value: `Grüße "${index}"` },
    ]),
  );
  await createIngest(database).storeBatch(arrivals);
  await createIngest(database).storeBatch([arrival('ms-acc-1/acc-1/dev-2', 5)]);
  await addUser(database, { name: `anna-${from}`, role: 'viewer', scope: '', passwordHash: 'h' }, 1).catch(
    () => undefined,
  );
}

async function shown(database: Database): Promise<unknown> {
  const rows = await database.kysely.selectFrom('v_value').selectAll().execute();
  return rows.map((row) => JSON.stringify(row, Object.keys(row).toSorted())).toSorted();
}

for (const from of engines) {
  for (const to of engines) {
    void test(`copyDatabase: everything arrives, ${from} to ${to}`, async (context) => {
      const source = await freshDatabase(context, from);
      const target = await freshDatabase(context, to);
      await fill(source);
      const seen: number[] = [];
      const counts = await copyDatabase(source, target, {
        nowMs,
        onProgress: ({ rows, rowsTotal }) => seen.push(rows / rowsTotal),
      });
      assert.equal(counts.get('snapshot'), 2 * snapshotsPerSealing + 31);
      assert.equal(seen.at(-1), 1);
      assert.deepEqual(await shown(target), await shown(source));
      assert.deepEqual(await checkDatabase(target), []);
      // Ids go on behind those that were copied.
      await fill(target, 10_000);
      assert.deepEqual(await checkDatabase(target), []);
      await assert.rejects(() => copyDatabase(source, target, { nowMs }), { code: 'database.conflict' });
      await copyDatabase(source, target, { nowMs, restart: true });
      assert.deepEqual(await shown(target), await shown(source));
    });
  }
}

for (const from of storageForms) {
  const to = from === 'chunks' ? 'rows' : 'chunks';
  testBoth(`copyDatabase: from ${from} to ${to}, cut off anywhere`, async (context, engine) => {
    const source = await freshDatabase(context, 'sqlite', from);
    const target = await freshDatabase(context, engine);
    await fill(source);
    await fill(source, 10_000);
    let steps = 0;
    const cutOff = (): void => {
      steps += 1;
      if (steps % 3 === 0) throw new Error('cut off');
    };
    let isWhole = false;
    for (let calls = 0; !isWhole; calls++) {
      assert.ok(calls < 50);
      isWhole = await copyDatabase(source, target, { nowMs, form: to, onProgress: cutOff }).then(
        () => true,
        (error: unknown) => {
          assert.match(String(error), /cut off/);
          return false;
        },
      );
    }
    assert.equal((await storageOf(target)).form, to);
    assert.deepEqual(await shown(target), await shown(source));
    assert.deepEqual(await checkDatabase(target), []);
    for (const path of [device, 'ms-acc-1/acc-1/dev-2'])
      assert.deepEqual(await readLatest(target, path), await readLatest(source, path));
    // And it goes on as what it is now.
    await fill(target, 20_000);
    assert.deepEqual(await checkDatabase(target), []);
    await assert.rejects(() => chooseStorage(target, from), { code: 'database.conflict' });
  });
}

testBoth('copyDatabase: cut off anywhere, a second call goes on where it was', async (context, engine) => {
  const source = await freshDatabase(context, 'sqlite');
  const target = await freshDatabase(context, engine);
  await fill(source);
  for (const cut of [1, 4, 9]) {
    let batches = 0;
    const cutOff = (): void => {
      batches += 1;
      if (batches === cut) throw new Error('cut off');
    };
    await assert.rejects(() => copyDatabase(source, target, { nowMs, onProgress: cutOff }), /cut off/);
  }
  await copyDatabase(source, target, { nowMs });
  assert.deepEqual(await shown(target), await shown(source));
  assert.deepEqual(await checkDatabase(target), []);
});

testBoth('copyDatabase: a source that has changed since is not gone on with', async (context, engine) => {
  const source = await freshDatabase(context, 'sqlite');
  const target = await freshDatabase(context, engine);
  await fill(source);
  const cutOff = (): void => {
    throw new Error('cut off');
  };
  await assert.rejects(() => copyDatabase(source, target, { nowMs, onProgress: cutOff }), /cut off/);
  await fill(source, 5000);
  await assert.rejects(() => copyDatabase(source, target, { nowMs }), { message: /has changed/ });
  await copyDatabase(source, target, { nowMs, restart: true });
  assert.deepEqual(await shown(target), await shown(source));
});

testBoth('copyDatabase: a database by another name is not taken for another one', async (context, engine) => {
  const source = await freshDatabase(context, engine);
  await fill(source);
  const before = await shown(source);
  const url = urlOf(source);
  const link = `${url.slice('sqlite:'.length)}.link`;
  if (engine === 'sqlite') symlinkSync(url.slice('sqlite:'.length), link);
  const same = await connectDatabase(
    engine === 'sqlite' ? `sqlite:${link}` : url.replace('mysql:', 'mariadb:'),
  );
  context.after(() => same.close());
  await assert.rejects(() => copyDatabase(source, same, { nowMs, restart: true }), {
    message: 'source and target are the same database',
  });
  assert.deepEqual(await shown(source), before);
  assert.deepEqual(await migrate(source), [], 'and it is no half of a copy');
});

testBoth('copyDatabase: nothing begins to work with what is not whole', async (context, engine) => {
  const source = await freshDatabase(context, 'sqlite');
  const target = await freshDatabase(context, engine);
  const third = await freshDatabase(context, 'sqlite');
  await fill(source);
  const cutOff = (): void => {
    throw new Error('cut off');
  };
  await assert.rejects(() => copyDatabase(source, target, { nowMs, onProgress: cutOff }), /cut off/);
  await assert.rejects(() => migrate(target), { code: 'database.conflict' });
  await assert.rejects(() => requireShape(target), { code: 'database.conflict' });
  await assert.rejects(() => copyDatabase(target, third, { nowMs }), { code: 'database.conflict' });
  await copyDatabase(source, target, { nowMs });
  assert.deepEqual(await migrate(target), []);
});

testBoth('copyDatabase: cut off while it empties the target, it begins again', async (context, engine) => {
  const source = await freshDatabase(context, 'sqlite');
  const target = await freshDatabase(context, engine);
  await fill(source);
  await fill(target, 50_000); // as far as it came
  await inTransaction(target, async (statements) => {
    await statements.run('create table copy_mark (source varchar(100) not null)', []);
    await statements.run(`insert into copy_mark (source) values ('unfinished')`, []);
  });
  await copyDatabase(source, target, { nowMs });
  assert.deepEqual(await shown(target), await shown(source));
});

testBoth('copyDatabase: an empty database is no source, and empties nothing', async (context, engine) => {
  const source = await connectDatabase(await freshUrl(context, engine));
  context.after(() => source.close());
  const target = await freshDatabase(context, 'sqlite');
  await fill(target);
  const before = await shown(target);
  await assert.rejects(() => copyDatabase(source, target, { nowMs, restart: true }), {
    code: 'database.foreign',
  });
  assert.deepEqual(await shown(target), before);
});

void test('backupDatabase: is whole, whoever writes meanwhile, and can be restored', async (context) => {
  const url = await freshUrl(context, 'sqlite');
  const file = url.slice('sqlite:'.length);
  const target = path.join(path.dirname(file), 'backup.db');
  const database = await connectDatabase(url);
  await migrate(database);
  await fill(database);
  const before = await shown(database);
  const backup = backupDatabase(file, target);
  await createIngest(database).storeBatch([arrival(device, 9000)]);
  assert.ok((await backup) > 0);
  await assert.rejects(() => backupDatabase(file, target), { code: 'database.conflict' });
  assert.throws(
    () => restoreDatabase(target, file, nowMs),
    { code: 'database.conflict' },
    'a program has it open',
  );
  await database.close();
  const aside = restoreDatabase(target, file, nowMs);
  assert.ok(aside !== undefined && existsSync(aside));
  const restored = await connectDatabase(url);
  context.after(() => restored.close());
  // The write came before or after the moment of the backup, and is there whole or not at all.
  const after = (await shown(restored)) as string[];
  assert.deepEqual(
    after.filter((row) => !row.includes('"sequence":9000')),
    before,
  );
  assert.deepEqual(await checkDatabase(restored), []);
  assert.deepEqual(
    readdirSync(path.dirname(file)).filter((name) => name.endsWith('.partial')),
    [],
  );
});

void test('restoreDatabase: a file that is no sound database replaces nothing', async (context) => {
  const url = await freshUrl(context, 'sqlite');
  const file = url.slice('sqlite:'.length);
  const database = await connectDatabase(url);
  await migrate(database);
  await database.close();
  const bad = path.join(path.dirname(file), 'bad.db');
  writeFileSync(bad, 'no database at all, but long enough to be taken for one'.repeat(100));
  assert.throws(() => restoreDatabase(bad, file, nowMs), { code: 'database.damaged' });
  const still = await connectDatabase(url);
  context.after(() => still.close());
  assert.deepEqual(await migrate(still), []);
});

void test('restoreDatabase: takes the place of what is damaged, and of what left its log behind', async (context) => {
  const url = await freshUrl(context, 'sqlite');
  const file = url.slice('sqlite:'.length);
  const backup = `${file}.backup`;
  const database = await connectDatabase(url);
  await migrate(database);
  await fill(database);
  const before = await shown(database);
  await backupDatabase(file, backup);
  await createIngest(database).storeBatch([arrival(device, 9000)]);
  copyFileSync(`${file}-wal`, `${file}.log`);
  await database.close();
  const damages = [
    () => truncateSync(file, 3000),
    () => writeFileSync(file, 'no database at all'.repeat(1000)),
    () => rmSync(file),
  ];
  for (const [index, damage] of damages.entries()) {
    damage();
    copyFileSync(`${file}.log`, `${file}-wal`); // of another database than the backup
    restoreDatabase(backup, file, nowMs + index * 1000);
    const restored = await connectDatabase(url, { mustExist: true });
    assert.deepEqual(await shown(restored), before, `damage ${index}`);
    assert.deepEqual(await checkDatabase(restored), []);
    await restored.close();
  }
});

void test('restoreDatabase: the file belongs to whom the former one, or the folder, belongs', async (context) => {
  const url = await freshUrl(context, 'sqlite');
  const file = url.slice('sqlite:'.length);
  const database = await connectDatabase(url);
  await migrate(database);
  await database.close();
  await backupDatabase(file, `${file}.backup`);
  const isRoot = process.getuid?.() === 0;
  if (isRoot) for (const name of [file, path.dirname(file)]) chownSync(name, 1234, 1234);
  chmodSync(file, 0o600);
  const { uid, gid, mode } = statSync(file);
  restoreDatabase(`${file}.backup`, file, nowMs);
  assert.deepEqual(pickOwner(statSync(file)), { uid, gid });
  assert.equal(statSync(file).mode, mode);
  rmSync(file);
  restoreDatabase(`${file}.backup`, file, nowMs);
  assert.deepEqual(pickOwner(statSync(file)), { uid, gid });
});

function pickOwner({ uid, gid }: Stats): { uid: number; gid: number } {
  return { uid, gid };
}

void test('restoreDatabase: what a program left when it was killed is restored with its log', async (context) => {
  const url = await freshUrl(context, 'sqlite');
  const file = url.slice('sqlite:'.length);
  const database = await connectDatabase(url);
  await migrate(database);
  await fill(database);
  const before = await shown(database);
  for (const suffix of ['', '-wal']) copyFileSync(`${file}${suffix}`, `${file}.left${suffix}`);
  await database.close();
  restoreDatabase(`${file}.left`, file, nowMs);
  const restored = await connectDatabase(url);
  context.after(() => restored.close());
  assert.deepEqual(await shown(restored), before);
  assert.ok(existsSync(`${file}.left-wal`), 'the source stays as it is');
});

void test("backupDatabase, restoreDatabase: what is no backend's is refused and replaces nothing", async (context) => {
  const url = await freshUrl(context, 'sqlite');
  const file = url.slice('sqlite:'.length);
  const database = await connectDatabase(url);
  await migrate(database);
  await fill(database);
  const before = await shown(database);
  await database.close();
  const newer = `${file}.newer`;
  await backupDatabase(file, newer);
  const foreign: Readonly<Record<string, string>> = { empty: '', other: 'create table x (a)' };
  for (const [name, statement] of Object.entries(foreign)) {
    const other = `${file}.${name}`;
    writeFileSync(other, '');
    const raw = new DatabaseSync(other);
    raw.exec(statement);
    raw.close();
    assert.throws(() => restoreDatabase(other, file, nowMs), { code: 'database.foreign' });
    await assert.rejects(() => backupDatabase(other, `${other}.backup`), { code: 'database.foreign' });
    const opened = await connectDatabase(`sqlite:${other}`);
    await assert.rejects(() => requireShape(opened), { code: 'database.foreign' });
    await opened.close();
  }
  const raw = new DatabaseSync(newer);
  raw.exec(`insert into migration (name, finished_ms) values ('999-later', 1)`);
  raw.close();
  assert.throws(() => restoreDatabase(newer, file, nowMs), { code: 'database.newer' });
  await assert.rejects(
    () => backupDatabase(file, path.join(file, 'nowhere', 'backup')),
    /there is no folder/,
  );
  const still = await connectDatabase(url);
  context.after(() => still.close());
  assert.deepEqual(await shown(still), before);
});

void test('requireShape: tables of an earlier version are named, and stay as they are', async (context) => {
  const database = await freshDatabase(context, 'sqlite');
  assert.equal(await requireShape(database), undefined);
  if (database.engine !== 'sqlite') return;
  await database.exclusively((raw) => raw.exec(`delete from migration where name >= '013'`));
  await assert.rejects(() => requireShape(database), {
    code: 'database.older',
    message: /plombe db migrate/,
  });
});

/** One for each device. */
const damages: Readonly<Record<string, (id: number) => string>> = {
  'counts 30 newest': (id) => `delete from head where device_id = ${id} and sequence = 270`,
  'has no times': (id) => `delete from chunk_time where device_id = ${id}`,
  'states other values': (id) => `update chunk set vmax = 1e9 where device_id = ${id}`,
  'snapshots that are not there, the first 17': (id) =>
    `delete from snapshot where device_id = ${id} and sequence = 17`,
  'the statistics of its newest': (id) => `update open_zone set data = x'' where device_id = ${id}`,
  'counts 287 snapshots': (id) => `update device set stored = 287 where id = ${id}`,
  'its gaps are not': (id) =>
    `insert into gap (device_id, from_sequence, to_sequence, opened_ms) values (${id}, 9, 9, 1)`,
  'the chunk of channel 1 in sealing 1 cannot be decoded': (id) =>
    `update chunk set data = x'00000000789c' where device_id = ${id}`,
  'the sequences of sealing 1 cannot be decoded': (id) =>
    `update chunk_time set sequences = x'' where device_id = ${id}`,
  'its newest snapshots cannot be decoded': (id) => `update head set payload = x'5b' where device_id = ${id}`,
  'is not whole': (id) => `update device set latest_ordinal = 999 where id = ${id}`,
};

testBoth('checkDatabase: names what does not fit together, and whose it is', async (context, engine) => {
  const database = await freshDatabase(context, engine);
  const paths = Object.keys(damages).map((_, index) => `a/b/dev-${index + 1}`);
  for (const name of paths) {
    const sequences = Array.from({ length: snapshotsPerSealing + 30 }, (_, index) => index + 1);
    await createIngest(database).storeBatch(sequences.map((sequence) => arrival(name, sequence)));
  }
  assert.deepEqual(await checkDatabase(database), []);
  const ids = await database.kysely.selectFrom('device').select(['id', 'path']).execute();
  for (const [index, [, damage]] of Object.entries(damages).entries()) {
    const statement = damage(ids.find(({ path: name }) => name === paths[index])?.id ?? 0);
    if (database.engine === 'sqlite') await database.exclusively((raw) => raw.exec(statement));
    else await database.pool.promise().query(statement);
  }
  const faults = await checkDatabase(database);
  for (const [index, [wanted]] of Object.entries(damages).entries()) {
    const own = faults.filter((fault) => fault.startsWith(`${paths[index]}: `));
    assert.ok(
      own.some((fault) => fault.includes(wanted)),
      `${wanted}: ${own.join('; ')}`,
    );
  }
});
