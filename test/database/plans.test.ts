/** Does any question read a large table from one end to the other? The engine itself is asked. */
import assert from 'node:assert/strict';
import type { Database } from '../../database/connect.ts';
import { channelListSql } from '../../database/channel-list.ts';
import { chunkExceedsSql } from '../../database/chunks/exceeds.ts';
import { chunkLatestSql } from '../../database/chunks/latest.ts';
import { chunkNumbersSql } from '../../database/chunks/numbers.ts';
import { openZoneSql } from '../../database/chunks/open-zone.ts';
import { chunkPiecesSql } from '../../database/chunks/pieces.ts';
import { rewriteSql } from '../../database/chunks/rewrite.ts';
import { snapshotsPerSealing } from '../../database/chunks/seal.ts';
import { chunkSeriesSql } from '../../database/chunks/series.ts';
import { chunkSnapshotsSql } from '../../database/chunks/snapshots.ts';
import { chunkUpkeepSql } from '../../database/chunks/upkeep.ts';
import { deviceTypesSql } from '../../database/device-types.ts';
import { droppedSql } from '../../database/dropped.ts';
import { exceedsSql } from '../../database/exceeds.ts';
import { exportSql } from '../../database/export.ts';
import { formerSql } from '../../database/former.ts';
import { createIngest } from '../../database/ingest.ts';
import { rowPiecesSql } from '../../database/plain-rows/pieces.ts';
import { rowSql } from '../../database/plain-rows/read.ts';
import { rowUpkeepSql } from '../../database/plain-rows/upkeep.ts';
import { unjudgedSql } from '../../database/processes-snapshots.ts';
import type { StorageForm } from '../../database/schema.ts';
import { servicesSql } from '../../database/services.ts';
import { bindable } from '../../database/sqlite-dialect.ts';
import { chooseStorage, storageForms } from '../../database/storage-of.ts';
import { upkeepSql } from '../../database/upkeep.ts';
import { utilisationSql } from '../../database/utilisation.ts';
import { arrival } from './arrivals.ts';
import { freshDatabase, testBoth } from './engines.ts';

const common = {
  channelListSql,
  deviceTypesSql,
  droppedSql,
  exceedsSql,
  exportSql,
  formerSql,
  servicesSql,
  unjudgedSql,
  upkeepSql,
  utilisationSql,
};
const statementsOf: Readonly<
  Record<StorageForm, Readonly<Record<string, Readonly<Record<string, string>>>>>
> = {
  chunks: {
    ...common,
    chunkExceedsSql,
    chunkLatestSql,
    chunkNumbersSql,
    chunkPiecesSql,
    chunkSeriesSql,
    chunkSnapshotsSql,
    chunkUpkeepSql,
    openZoneSql,
    rewriteSql,
  },
  rows: { ...common, rowPiecesSql, rowSql, rowUpkeepSql },
};

/** By name or by the alias that the statements use; what grows with values, not with devices. */
const large: Readonly<Record<StorageForm, ReadonlySet<string>>> = {
  chunks: new Set(['chunk', 'k', 'chunk_time', 'head', 'h', 'snapshot']),
  rows: new Set(['value_row', 'r', 'row_snapshot', 'snapshot']),
};

async function fill(database: Database): Promise<void> {
  for (const name of ['dev-1', 'dev-2', 'dev-3', 'dev-4']) {
    const sequences = Array.from({ length: 3 * snapshotsPerSealing + 100 }, (_, index) => index + 1);
    const readings = ['a', 'b', 'c', 'd'].map((channel, index) => ({ channel, value: index }));
    await createIngest(database).storeBatch(sequences.map((at) => arrival(`ms/acc/${name}`, at, readings)));
  }
}

/** @returns what the engine would read from one end to the other */
async function scanned(database: Database, text: string): Promise<string[]> {
  const values = Array.from({ length: text.split('?').length - 1 }, () => 1);
  if (database.engine === 'sqlite') {
    const rows = await database.exclusively((raw) =>
      raw.prepare(`explain query plan ${text}`).all(...values.map(bindable)),
    );
    // A search that names no column of the key is one from end to end, too.
    return rows.flatMap(({ detail }) => /^(?:SCAN|SEARCH) ([^ (]+)(?!.*\()/.exec(String(detail))?.[1] ?? []);
  }
  const [rows] = await database.pool.promise().query(`explain ${text}`, values);
  return (rows as { table: string | null; type: string | null }[]).flatMap(({ table, type }) =>
    table !== null && (type === 'ALL' || type === 'index') ? [table] : [],
  );
}

for (const form of storageForms) {
  testBoth(`every statement: reads no large table whole, ${form}`, async (context, engine) => {
    const database = await freshDatabase(context, engine);
    await chooseStorage(database, form);
    await fill(database);
    if (database.engine === 'mysql')
      await database.pool
        .promise()
        .query('analyze table chunk, chunk_time, head, snapshot, value_row, row_snapshot, device, channel');
    for (const [group, statements] of Object.entries(statementsOf[form])) {
      for (const [name, text] of Object.entries(statements)) {
        const tables = (await scanned(database, text)).filter((table) => large[form].has(table));
        assert.deepEqual(tables, [], `${group}.${name}: ${text}`);
      }
    }
    const view = 'select * from v_value where device = ? and channel = ? and time_ms between ? and ?';
    assert.deepEqual(
      (await scanned(database, view)).filter((table) => large[form].has(table)),
      [],
    );
    // And a statement that does is found out.
    assert.deepEqual(await scanned(database, 'select max(vsum) from chunk where n > ?'), ['chunk']);
    assert.deepEqual(await scanned(database, 'select max(kind) from value_row where kind > ?'), [
      'value_row',
    ]);
  });
}
