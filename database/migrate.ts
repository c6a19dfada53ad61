/** Brings the tables to this version's shape: forward only, recorded, and safe when two programs start at once. */
import type { DatabaseSync } from 'node:sqlite';
import type { PoolConnection, RowDataPacket } from 'mysql2/promise';
import type { Database, MysqlDatabase, SqliteDatabase } from './connect.ts';
import { requireWhole } from './copy-mark.ts';
import type { Migration } from './ddl.ts';
import { ddlWords, isBeyond } from './ddl.ts';
import { DatabaseError, isThereAlready } from './errors.ts';
import { hasTable } from './rows.ts';
import { whenFree } from './sqlite-dialect.ts';
import { inSnapshot } from './statements.ts';
import { telemetry } from './migrations/001-telemetry.ts';
import { processes } from './migrations/002-processes.ts';
import { brokers } from './migrations/003-brokers.ts';
import { values } from './migrations/004-values.ts';
import { upkeep } from './migrations/005-upkeep.ts';
import { people } from './migrations/006-people.ts';
import { evidence } from './migrations/007-evidence.ts';
import { ledgers } from './migrations/009-ledgers.ts';
import { storage } from './migrations/010-storage.ts';
import { announced } from './migrations/012-announced.ts';
import { records } from './migrations/013-records.ts';

/** In order. A released one never changes; what follows is a new one. */
const migrations: readonly Migration[] = [
  telemetry,
  processes,
  brokers,
  values,
  upkeep,
  people,
  evidence,
  ledgers,
  storage,
  announced,
  records,
];

const lockName = 'plombe.migrate';
const lockTimeoutSeconds = 60;
/** Twice what we put into one statement (statements.ts). MariaDB's default is 16 MiB, MySQL's and TiDB's 64. */
const packetBytesMin = 8 * 1024 * 1024;

const createRecord = {
  sqlite:
    'create table if not exists migration (name text not null primary key, finished_ms integer not null)',
  mysql: `create table if not exists migration (name varchar(64) not null primary key, finished_ms bigint not null)
    engine = InnoDB default character set utf8mb4 collate utf8mb4_bin`,
};

/**
 * What every program does first.
 *
 * @returns the names of the migrations that this call applied
 * @throws DatabaseError `database.newer` if a later version of the program has been here, `database.conflict` for a copy
 *   that is not whole
 */
export async function migrate(database: Database, nowMs: number = Date.now()): Promise<string[]> {
  const applied = await shape(database, nowMs);
  await requireWhole(database);
  return applied;
}

/** The same also for the target of a copy. */
export async function shape(database: Database, nowMs: number): Promise<string[]> {
  return database.engine === 'sqlite' ? migrateSqlite(database, nowMs) : migrateMysql(database, nowMs);
}

/**
 * For what only looks, and makes no tables.
 *
 * @throws DatabaseError `database.foreign`, `database.older`, `database.newer`, or `database.conflict` for a copy that is not whole
 */
export async function requireShape(database: Database): Promise<void> {
  await requireOurs(database);
  const recorded = await inSnapshot(database, (statements) =>
    statements.all<{ name: string }>('select name from migration', []),
  );
  const missing = missingFrom(recorded.map(({ name }) => name));
  if (missing.length > 0)
    throw new DatabaseError(
      'database.older',
      'the tables are of an earlier version: plombe db migrate comes first',
    );
  await requireWhole(database);
}

/** @throws DatabaseError `database.foreign` for an empty database, or somebody else's */
export async function requireOurs(database: Database): Promise<void> {
  if (!(await hasTable(database, 'migration'))) throw foreign('the database');
}

/**
 * The same of a file that is not open.
 *
 * @throws DatabaseError `database.foreign`, `database.newer`
 */
export function requireOurFile(raw: DatabaseSync, file: string): void {
  const tables = raw.prepare(`select name from sqlite_schema where name = 'migration'`).all();
  if (tables.length === 0) throw foreign(file);
  missingFrom(
    raw
      .prepare('select name from migration')
      .all()
      .map((row) => String(row['name'])),
  );
}

function foreign(what: string): DatabaseError {
  return new DatabaseError('database.foreign', `${what} has no tables of a backend's`);
}

function missingFrom(recorded: readonly string[]): readonly Migration[] {
  const known = migrations.map(({ name }) => name);
  const foreign = recorded.filter((name) => !known.includes(name));
  if (foreign.length > 0) {
    throw new DatabaseError(
      'database.newer',
      `the database has been changed by a later version: ${foreign.join(', ')}`,
    );
  }
  return migrations.filter(({ name }) => !recorded.includes(name));
}

function migrateSqlite(database: SqliteDatabase, nowMs: number): Promise<string[]> {
  return database.exclusively(async (raw: DatabaseSync) => {
    await whenFree(() => raw.exec('begin immediate')); // SQLite's own DDL is transactional, and this waits for another program's
    try {
      raw.exec(createRecord.sqlite);
      const recorded = raw.prepare('select name from migration').all();
      const missing = missingFrom(recorded.map((row) => String(row['name'])));
      const record = raw.prepare('insert into migration (name, finished_ms) values (?, ?)');
      for (const { name, statements } of missing) {
        for (const statement of statements(ddlWords.sqlite)) raw.exec(statement);
        record.run(name, nowMs);
      }
      raw.exec('commit');
      return missing.map(({ name }) => name);
    } catch (error) {
      if (raw.isTransaction) raw.exec('rollback');
      throw error;
    }
  });
}

async function migrateMysql(database: MysqlDatabase, nowMs: number): Promise<string[]> {
  const connection = await database.pool.promise().getConnection();
  try {
    // The lock belongs to the connection, so it falls with the program.
    const [locked] = await connection.query<RowDataPacket[]>('select get_lock(?, ?) as got', [
      lockName,
      lockTimeoutSeconds,
    ]);
    if (locked[0]?.['got'] !== 1) {
      throw new DatabaseError(
        'database.unavailable',
        `another program has been migrating for ${lockTimeoutSeconds} s`,
      );
    }
    try {
      return await applyMysql(connection, nowMs);
    } finally {
      await connection.query('do release_lock(?)', [lockName]);
    }
  } finally {
    connection.release();
  }
}

async function applyMysql(connection: PoolConnection, nowMs: number): Promise<string[]> {
  await connection.query(createRecord.mysql);
  const [recorded] = await connection.query<RowDataPacket[]>('select name from migration');
  const missing = missingFrom(recorded.map((row) => String(row['name'])));
  const [servers] = await connection.query<RowDataPacket[]>(
    'select version() as version, @@max_allowed_packet as packetBytes',
  );
  const version = String(servers[0]?.['version']);
  const packetBytes = Number(servers[0]?.['packetBytes']);
  if (packetBytes < packetBytesMin)
    throw new DatabaseError(
      'database.unavailable',
      `max_allowed_packet of the server is ${packetBytes}, wanted at least ${packetBytesMin}`,
    );
  for (const { name, statements } of missing) {
    for (const statement of statements(ddlWords.mysql))
      if (!isBeyond(version, statement)) await applyOne(connection, statement);
    // MySQL commits every DDL statement by itself. Cut off here, the next start repeats them, which they bear.
    await connection.query('insert into migration (name, finished_ms) values (?, ?)', [name, nowMs]);
  }
  return missing.map(({ name }) => name);
}

/** MySQL has neither `add column if not exists` nor `create index if not exists`: that it is there already is fine. */
async function applyOne(connection: PoolConnection, statement: string): Promise<void> {
  try {
    await connection.query(statement);
  } catch (error) {
    if (!isThereAlready(error)) throw error;
  }
}
