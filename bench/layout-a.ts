/**
 * The peer of our storage: the literature's layout, a row per value with a surrogate id and two indexes for its foreign
 * keys, on the same engine with the same settings, and its queries in SQL.
 */
import type { Database } from '../database/connect.ts';
import type { Arrival } from '../database/ingest.ts';
import { inSnapshot, inTransaction } from '../database/statements.ts';
import type { SqlValue, Statements } from '../database/statements.ts';

const id = { sqlite: 'integer primary key', mysql: 'bigint not null auto_increment primary key' } as const;
const tail = {
  sqlite: '',
  mysql: 'engine = InnoDB default character set utf8mb4 collate utf8mb4_bin',
} as const;

export interface LayoutA {
  /** One transaction. */
  store(arrivals: readonly Arrival[]): Promise<void>;
  latest(device: string): Promise<number>;
  /** @returns the number of points, each with least, greatest and mean value */
  series(device: string, channel: string, fromMs: number, toMs: number, points: number): Promise<number>;
  /** @returns the number of devices */
  exceededEver(channel: string, value: number): Promise<number>;
}

/** Makes its tables, `a_…`, unless they are there. */
export async function openLayoutA(database: Database): Promise<LayoutA> {
  const { engine } = database;
  const index = (name: string, on: string): string[] =>
    engine === 'sqlite' ? [`create index if not exists ${name} on ${on}`] : [];
  const inside = (text: string): string => (engine === 'mysql' ? `, ${text}` : '');
  for (const statement of [
    `create table if not exists a_device (id ${id[engine]}, path varchar(62) not null unique) ${tail[engine]}`,
    `create table if not exists a_channel (id ${id[engine]}, name varchar(64) not null unique) ${tail[engine]}`,
    `create table if not exists a_snapshot (id ${id[engine]}, device_id bigint not null, time_ms bigint not null
      ${inside('index (device_id)')}) ${tail[engine]}`,
    ...index('a_snapshot_device', 'a_snapshot (device_id)'),
    `create table if not exists a_value (id ${id[engine]}, snapshot_id bigint not null, channel_id bigint not null,
      number_value double, text_value varchar(256) ${inside('index (snapshot_id), index (channel_id)')}) ${tail[engine]}`,
    ...index('a_value_snapshot', 'a_value (snapshot_id)'),
    ...index('a_value_channel', 'a_value (channel_id)'),
  ]) {
    await inTransaction(database, (statements) => statements.run(statement, []));
  }
  const devices = new Map<string, number>();
  const channels = new Map<string, number>();
  return {
    store: (arrivals) =>
      inTransaction(database, async (statements) => {
        const rows: SqlValue[][] = [];
        for (const { device, snapshot } of arrivals) {
          if (snapshot === undefined) continue;
          const snapshotId = await statements.run(
            'insert into a_snapshot (device_id, time_ms) values (?, ?)',
            [await idOf(statements, devices, 'a_device', 'path', device), snapshot.timeMs],
          );
          for (const { channel, value } of snapshot.readings) {
            const channelId = await idOf(statements, channels, 'a_channel', 'name', channel);
            rows.push(
              typeof value === 'string'
                ? [snapshotId, channelId, null, value]
                : [snapshotId, channelId, Number(value), null],
            );
          }
        }
        await statements.insertMany(
          'a_value',
          ['snapshot_id', 'channel_id', 'number_value', 'text_value'],
          rows,
        );
      }),
    latest: (device) => counted(database, latestSql, [device]),
    series: (device, channel, fromMs, toMs, points) =>
      counted(database, seriesSql[engine], [fromMs, (toMs - fromMs) / points, device, channel, fromMs, toMs]),
    exceededEver: (channel, value) => counted(database, exceededSql, [channel, value]),
  };
}

const latestSql = `select c.name, v.number_value, v.text_value from a_value v join a_channel c on c.id = v.channel_id
  where v.snapshot_id = (select s.id from a_snapshot s join a_device d on d.id = s.device_id where d.path = ?
    order by s.id desc limit 1)`;
const seriesOf = (bucket: string): string =>
  `select ${bucket} as bucket, min(number_value) as least, max(number_value) as greatest, avg(number_value) as mean
  from a_value v join a_snapshot s on s.id = v.snapshot_id
  where s.device_id = (select id from a_device where path = ?)
    and v.channel_id = (select id from a_channel where name = ?)
    and s.time_ms >= ? and s.time_ms <= ? group by 1`;
const seriesSql = {
  sqlite: seriesOf('cast((s.time_ms - ?) / ? as integer)'),
  mysql: seriesOf('floor((s.time_ms - ?) / ?)'),
};
const exceededSql = `select distinct d.path from a_value v join a_snapshot s on s.id = v.snapshot_id
  join a_device d on d.id = s.device_id
  where v.channel_id = (select id from a_channel where name = ?) and v.number_value > ?`;

function counted(database: Database, sql: string, values: readonly SqlValue[]): Promise<number> {
  return inSnapshot(database, async (statements) => (await statements.all(sql, values)).length);
}

async function idOf(
  statements: Statements,
  known: Map<string, number>,
  table: string,
  column: string,
  name: string,
): Promise<number> {
  const found =
    known.get(name) ??
    (await statements.all<{ id: number }>(`select id from ${table} where ${column} = ?`, [name]))[0]?.id ??
    (await statements.run(`insert into ${table} (${column}) values (?)`, [name]));
  known.set(name, found);
  return found;
}
