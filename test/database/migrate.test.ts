import assert from 'node:assert/strict';
import test from 'node:test';
import { connectDatabase } from '../../database/connect.ts';
import { ddlWords, isBeyond } from '../../database/ddl.ts';
import { migrate } from '../../database/migrate.ts';
import { telemetry } from '../../database/migrations/001-telemetry.ts';
import { freshUrl, testBoth } from './engines.ts';

testBoth(
  'migrate: applies everything once, however many programs start together',
  async (context, engine) => {
    const url = await freshUrl(context, engine);
    const databases = await Promise.all([1, 2, 3].map(() => connectDatabase(url)));
    try {
      const applied = await Promise.all(databases.map((database) => migrate(database)));
      assert.deepEqual(applied.flat(), [...new Set(applied.flat())]);
      assert.ok(applied.flat().includes('001-telemetry'));
      const [first] = databases;
      assert.ok(first);
      assert.deepEqual(await migrate(first), []);
      assert.deepEqual(await first.kysely.selectFrom('device').selectAll().execute(), []);
      assert.deepEqual(await first.kysely.selectFrom('v_value').selectAll().execute(), []);
    } finally {
      await Promise.all(databases.map((database) => database.close()));
    }
  },
);

testBoth('migrate: refuses a database that a later version has changed', async (context, engine) => {
  const database = await connectDatabase(await freshUrl(context, engine));
  try {
    await migrate(database);
    await database.kysely
      .withTables<{ migration: { name: string; finished_ms: number } }>()
      .insertInto('migration')
      .values({ name: '999-from-the-future', finished_ms: 1 })
      .execute();
    await assert.rejects(() => migrate(database), { code: 'database.newer', message: /999-from-the-future/ });
  } finally {
    await database.close();
  }
});

void test('isBeyond: TiDB, whose documentation names no JSON_TABLE, does without the view', () => {
  const statements = telemetry.statements(ddlWords.mysql);
  const left = (version: string): number => statements.filter((text) => isBeyond(version, text)).length;
  assert.deepEqual(['8.0.11-TiDB-v8.5.1', '8.4.0', '10.11.6-MariaDB-0+deb12u1'].map(left), [1, 0, 0]);
});
