/** A database says how its values rest, and may keep them as plain rows; the view of all values is quick for one channel. */
import type { Migration } from '../ddl.ts';
import { tableStatements } from '../ddl.ts';

export const storage: Migration = {
  name: '010-storage',
  statements: (words) => {
    const { integer, real, text } = words;
    return [
      ...tableStatements(words, 'storage', [`id ${integer} primary key`, `form ${text(8)} not null`]),
      words.engine === 'sqlite'
        ? `insert or ignore into storage (id, form) values (1, 'chunks')`
        : `insert ignore into storage (id, form) values (1, 'chunks')`,
      ...tableStatements(
        words,
        'value_row',
        [
          `device_id ${integer} not null`,
          `channel_id ${integer} not null`,
          `time_ms ${integer} not null`,
          `sequence ${integer} not null`,
          'kind smallint not null', // plain-rows/value.ts
          `number_value ${real}`,
          `text_value ${text(2000)}`,
          'primary key (device_id, channel_id, time_ms, sequence)',
        ],
        { clustered: true },
      ),
      ...tableStatements(
        words,
        'row_snapshot',
        [
          `device_id ${integer} not null`,
          `time_ms ${integer} not null`,
          `sequence ${integer} not null`,
          'primary key (device_id, time_ms, sequence)',
        ],
        { clustered: true },
      ),
      ...(words.engine === 'sqlite' ? ['drop view if exists v_value', sqliteView] : [mysqlView]),
    ];
  },
};

// One row per value, in plain SQL. A convenience: no query of ours depends on it (TiDB has no JSON_TABLE). Devices and channels
// are joined within each part, so that what is asked of them reaches the parts' own indexes.
// A boolean is 1 or 0 in number_value and 'true' or 'false' in text_value; a text has no number_value.
// -0 shows as 0 here, and as itself to programs; NaN and the infinities have only a text_value.
const named = 'd.path as device, c.name as channel, u.symbol as unit';
const joins = (deviceId: string, channelId: string): string =>
  `join device d on d.id = ${deviceId} join channel c on c.id = ${channelId} left join unit u on u.id = c.unit_id`;

const plainRows = `select ${named}, r.sequence, r.time_ms, r.number_value,
    case when r.kind = 3 and r.number_value = 0 then null else r.text_value end
  from value_row r ${joins('r.device_id', 'r.channel_id')}`;

const sqliteValue = (
  value: string,
  type: string,
): string => `case when ${type} not in ('text', 'array') then ${value} + 0.0 end,
    case ${type} when 'true' then 'true' when 'false' then 'false' when 'text' then ${value}
      when 'array' then json_extract(${value}, '$[0]') end`;

const sqliteView = `create view v_value (device, channel, unit, sequence, time_ms, number_value, text_value) as
  select ${named}, h.sequence, h.time_ms, ${sqliteValue('v.value', 'v.type')}
  from head h, json_each(cast(h.payload as text)) j, json_each(j.value) v
  ${joins('h.device_id', "json_extract(j.value, '$[0]') + v.key - 1")}
  where v.key > 0
  union all
  select ${named}, json_extract(v.value, '$[0]'), t.t0 + json_extract(v.value, '$[1]'),
    ${sqliteValue("json_extract(v.value, '$[2]')", "json_type(v.value, '$[2]')")}
  from chunk k
  join chunk_time t on t.device_id = k.device_id and t.t0 = k.t0 and t.sealing = k.sealing
  ${joins('k.device_id', 'k.channel_id')},
  json_each(chunk_values(k.data, t.times, t.sequences)) v
  union all
  ${plainRows}`;

// The three lists of a chunk are read as one and put together by place: joined by place, each would be read again for every
// value of the others. What is asked of device and channel narrows the groups before they are made. As a text, because MySQL's
// JSON, unlike MariaDB's, is a type of its own, whose true is not equal to 'true'.
const chunkValue = 'max(case when z.a = 3 then cast(z.v as char) end)';
const mysqlView = `create or replace view v_value (device, channel, unit, sequence, time_ms, number_value, text_value) as
  select ${named}, h.sequence, h.time_ms, ${mysqlValue('cast(j.v as char)')}
  from head h
  join json_table(convert(h.payload using utf8mb4), '$[*]'
    columns (first_id bigint path '$[0]', nested path '$[*]' columns (i for ordinality, v json path '$'))) j
  ${joins('h.device_id', 'j.first_id + j.i - 2')}
  where j.i > 1
  union all
  select ${named}, max(case when z.a = 2 then z.n end), k.t0 + max(case when z.a = 1 then z.n end),
    ${mysqlValue(chunkValue)}
  from chunk k
  join chunk_time t on t.device_id = k.device_id and t.t0 = k.t0 and t.sealing = k.sealing
  ${joins('k.device_id', 'k.channel_id')}
  join json_table(concat('[', convert(uncompress(t.times) using utf8mb4), ',',
      convert(uncompress(t.sequences) using utf8mb4), ',', convert(uncompress(k.data) using utf8mb4), ']'), '$[*]'
    columns (a for ordinality, nested path '$[*]' columns (i for ordinality, v json path '$', n bigint path '$'))) z
  group by d.path, c.name, u.symbol, k.t0, k.sealing, z.i
  having ${chunkValue} <> 'null'
  union all
  ${plainRows}`;

function mysqlValue(json: string): string {
  return `case when left(${json}, 1) not in ('"', '[')
      then case ${json} when 'true' then 1 when 'false' then 0 else ${json} + 0e0 end end,
    case when left(${json}, 1) = '"' then json_unquote(${json}) when left(${json}, 1) = '[' then json_unquote(json_extract(${json}, '$[0]'))
      when ${json} in ('true', 'false') then ${json} end`;
}
