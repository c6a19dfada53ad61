/** All of one database into another, of the same engine or the other one, in a way that may be cut off and gone on with. */
import type { Database } from './connect.ts';
import { isUnfinishedCopy, markTable } from './copy-mark.ts';
import { DatabaseError } from './errors.ts';
import { migrate, requireOurs, shape } from './migrate.ts';
import { moveTable, moveValues } from './move.ts';
import { countRows, quotedName, readTables, streamRows } from './rows.ts';
import type { Row, Table } from './rows.ts';
import type { StorageForm } from './schema.ts';
import { inSnapshot, inTransaction } from './statements.ts';
import type { SqlValue } from './statements.ts';
import { imposeStorage, storageFor, storageOf } from './storage-of.ts';

export interface CopyProgress {
  readonly table: string;
  readonly rows: number;
  readonly rowsTotal: number;
}

export interface CopyOptions {
  /** Empty the target first, whatever is in it. */
  readonly restart?: boolean;
  /** How values are to rest in the target; as in the source, unless given. */
  readonly form?: StorageForm;
  readonly onProgress?: (progress: CopyProgress) => void;
  readonly nowMs: number;
}

const rowsPerTransaction = 500;
const bytesPerTransaction = 4 * 1024 * 1024;
/** In the mark, while the target is being emptied. */
const unfinished = 'unfinished';
/** Not copied. */
const untouched: ReadonlySet<string> = new Set(['migration', 'storage', markTable, moveTable]);

/**
 * The source must not be written meanwhile: its programs are stopped. A second call goes on behind the last row that was
 * committed, if the source is as it was.
 *
 * @returns rows by table, the same on both sides
 * @throws DatabaseError `database.conflict` if the target holds something else, or is the source; if the source has changed,
 *   or is a copy that is not whole
 */
export async function copyDatabase(
  source: Database,
  target: Database,
  { restart = false, form, onProgress = () => undefined, nowMs }: CopyOptions,
): Promise<ReadonlyMap<string, number>> {
  await requireOurs(source);
  await migrate(source, nowMs);
  await shape(target, nowMs);
  const from = await storageOf(source);
  const to = storageFor(form ?? from.form);
  // Values that rest in another form are moved behind everything else.
  const moved = new Set(from === to ? [] : [...from.tables, ...to.tables]);
  const tables = (await readTables(source)).filter(({ name }) => !untouched.has(name) && !moved.has(name));
  const fingerprint = `${await fingerprintOf(source)} ${to.form}`;
  await prepare(source, target, fingerprint, to.form, restart);
  let rowsTotal = 0;
  for (const table of tables) rowsTotal += await countRows(source, table);
  let rows = 0;
  for (const table of tables) {
    const last = await lastKey(target, table);
    if (last !== undefined) rows += await countRows(target, table);
    for await (const batch of inBatches(streamRows(source, table, last))) {
      await insert(target, table, batch);
      rows += batch.length;
      onProgress({ table: table.name, rows, rowsTotal });
    }
  }
  if (from !== to) {
    await moveValues(source, target, (devices, devicesTotal) =>
      onProgress({ table: 'values', rows: rows + devices, rowsTotal: rowsTotal + devicesTotal }),
    );
  }
  const counts = await compare(source, target, tables);
  if (`${await fingerprintOf(source)} ${to.form}` !== fingerprint)
    throw new DatabaseError('database.conflict', 'the source has changed meanwhile; use --restart');
  await inTransaction(target, async (statements) => {
    await statements.run(`drop table if exists ${moveTable}`, []);
    await statements.run(`drop table ${markTable}`, []);
  });
  return counts;
}

/** What every storing, every sealing and every thinning changes. */
async function fingerprintOf(database: Database): Promise<string> {
  return inSnapshot(database, async (statements) => {
    const [turn] = await statements.all<{ batches: number }>(
      'select batches from ingest_turn where id = 1',
      [],
    );
    const [devices] = await statements.all<{ snapshots: number | null; sealings: number | null }>(
      'select sum(device.stored) as snapshots, sum(sealings) as sealings from device',
      [],
    );
    const [thinned] = await statements.all<{ untilMs: number | null }>(
      'select sum(t0) as untilMs from thinned_run',
      [],
    );
    return [turn?.batches, devices?.snapshots, devices?.sealings, thinned?.untilMs]
      .map((value) => value ?? 0)
      .join('/');
  });
}

async function prepare(
  source: Database,
  target: Database,
  fingerprint: string,
  form: StorageForm,
  restart: boolean,
): Promise<void> {
  const tables = await readTables(target);
  const isBegun = tables.some(({ name }) => name === markTable);
  if (isBegun && !restart) {
    const [mark] = await inSnapshot(target, (one) =>
      one.all<{ source: string }>(`select source from ${markTable}`, []),
    );
    if (mark?.source === fingerprint) return;
    // Cut off while it was being emptied, which somebody had agreed to.
    if (mark !== undefined && mark.source !== unfinished)
      throw new DatabaseError(
        'database.conflict',
        'the source has changed since this copy began: stop its programs and begin again with --restart',
      );
  }
  if (!isBegun && !restart) {
    for (const table of tables) {
      if (untouched.has(table.name) || table.name === 'ingest_turn' || (await countRows(target, table)) === 0)
        continue;
      throw new DatabaseError(
        'database.conflict',
        `the target is not empty (${table.name} has rows): --restart empties it`,
      );
    }
  }
  // On MySQL a table is made outside of any transaction, so the mark comes first and the emptying can be repeated.
  await inTransaction(target, async (statements) => {
    await statements.run(
      `create table if not exists ${markTable} (source varchar(100) not null primary key)`,
      [],
    );
    await statements.run(`delete from ${markTable}`, []);
    await statements.run(`insert into ${markTable} (source) values (?)`, [unfinished]);
  });
  // It had none before: they are one database by two names, and emptying the target would be the end of both.
  if (await isUnfinishedCopy(source)) {
    await inTransaction(target, (statements) => statements.run(`drop table ${markTable}`, []));
    throw new DatabaseError('database.conflict', 'source and target are the same database');
  }
  await imposeStorage(target, form);
  for (const { name } of tables) {
    if (!untouched.has(name)) {
      const statement = target.engine === 'sqlite' ? 'delete from' : 'truncate table';
      await inTransaction(target, (one) => one.run(`${statement} ${quotedName(target, name)}`, []));
    }
  }
  await inTransaction(target, (statements) =>
    statements.run(`update ${markTable} set source = ?`, [fingerprint]),
  );
}

/** @returns the key of the last row in the target, undefined if it has none */
async function lastKey(target: Database, table: Table): Promise<SqlValue[] | undefined> {
  const names = table.key.map((column) => quotedName(target, column));
  const order = names.map((name) => `${name} desc`).join(', ');
  const [row] = await inSnapshot(target, (statements) =>
    statements.all<Row>(
      `select ${names.join(', ')} from ${quotedName(target, table.name)} order by ${order} limit 1`,
      [],
    ),
  );
  return row && table.key.map((column) => row[column] ?? null);
}

async function* inBatches(rows: AsyncIterable<Row>): AsyncGenerator<Row[]> {
  let batch: Row[] = [];
  let bytes = 0;
  for await (const row of rows) {
    batch.push(row);
    for (const value of Object.values(row)) bytes += value instanceof Uint8Array ? value.length : 32;
    if (batch.length < rowsPerTransaction && bytes < bytesPerTransaction) continue;
    yield batch;
    batch = [];
    bytes = 0;
  }
  if (batch.length > 0) yield batch;
}

async function insert(target: Database, { name, columns }: Table, rows: readonly Row[]): Promise<void> {
  await inTransaction(target, (statements) =>
    statements.insertMany(
      name,
      columns,
      rows.map((row) => columns.map((column) => row[column] ?? null)),
    ),
  );
}

async function compare(
  source: Database,
  target: Database,
  tables: readonly Table[],
): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  const faults: string[] = [];
  for (const table of tables) {
    const [wanted, found] = [await countRows(source, table), await countRows(target, table)];
    counts.set(table.name, found);
    if (wanted !== found) faults.push(`${table.name} has ${found} of ${wanted} rows`);
  }
  if (faults.length > 0)
    throw new DatabaseError(
      'database.conflict',
      `the copy is not whole: ${faults.join('; ')}; use --restart`,
    );
  return counts;
}
