/** The newest snapshots rest as plain JSON, and what is no finite number has a place of its own. */
import type { DdlWords, Migration } from '../ddl.ts';

export const values: Migration = {
  name: '004-values',
  statements: (words) => [
    // What 001 compressed: behind the four bytes of length stands zlib's first, which no JSON of ours has there.
    `update head set payload = uncompress(payload) where substr(payload, 5, 1) = ${compressedMark(words)}`,
    'create index device_by_type on device (device_type_id, path)',
    ...(words.engine === 'sqlite' ? ['drop view if exists v_value', sqliteView] : [mysqlView]),
  ],
};

function compressedMark({ engine }: DdlWords): string {
  return engine === 'sqlite' ? "x'78'" : "'x'";
}

// One row per value, in plain SQL. A convenience: no query of ours depends on it (TiDB has no JSON_TABLE).
// A boolean is 1 or 0 in number_value and 'true' or 'false' in text_value; a text has no number_value.
// -0 shows as 0 here, and as itself to programs; NaN and the infinities have only a text_value.
const sqliteView = `create view v_value as
  select d.path as device, c.name as channel, u.symbol as unit, x.sequence, x.time_ms, x.number_value, x.text_value
  from (
    select h.device_id, json_extract(j.value, '$[0]') + v.key - 1 as channel_id, h.sequence, h.time_ms,
      case when v.type not in ('text', 'array') then v.value + 0.0 end as number_value,
      case v.type when 'true' then 'true' when 'false' then 'false' when 'text' then v.value
        when 'array' then json_extract(v.value, '$[0]') end as text_value
    from head h, json_each(cast(h.payload as text)) j, json_each(j.value) v where v.key > 0
    union all
    select k.device_id, k.channel_id, s.value, t.t0 + o.value,
      case when v.type not in ('text', 'array') then v.value + 0.0 end,
      case v.type when 'true' then 'true' when 'false' then 'false' when 'text' then v.value
        when 'array' then json_extract(v.value, '$[0]') end
    from chunk k
    join chunk_time t on t.device_id = k.device_id and t.t0 = k.t0 and t.sealing = k.sealing,
    json_each(uncompress(k.data)) v
    join json_each(uncompress(t.times)) o on o.key = v.key
    join json_each(uncompress(t.sequences)) s on s.key = v.key
    where v.type <> 'null'
  ) x
  join device d on d.id = x.device_id
  join channel c on c.id = x.channel_id
  left join unit u on u.id = c.unit_id`;

const mysqlView = `create or replace view v_value as
  select d.path as device, c.name as channel, u.symbol as unit, x.sequence, x.time_ms,
    case when left(x.v, 1) not in ('"', '[')
      then case x.v when 'true' then 1 when 'false' then 0 else x.v + 0e0 end end as number_value,
    case when left(x.v, 1) = '"' then json_unquote(x.v) when left(x.v, 1) = '[' then json_unquote(json_extract(x.v, '$[0]'))
      when x.v in ('true', 'false') then x.v end as text_value
  from (
    select h.device_id, j.first_id + j.i - 2 as channel_id, h.sequence, h.time_ms, j.v
    from head h, json_table(convert(h.payload using utf8mb4), '$[*]'
      columns (first_id bigint path '$[0]', nested path '$[*]' columns (i for ordinality, v json path '$'))) j
    where j.i > 1
    union all
    select k.device_id, k.channel_id, s.v, t.t0 + o.v, v.v
    from chunk k
    join chunk_time t on t.device_id = k.device_id and t.t0 = k.t0 and t.sealing = k.sealing
    join json_table(convert(uncompress(k.data) using utf8mb4), '$[*]' columns (i for ordinality, v json path '$')) v
    join json_table(convert(uncompress(t.times) using utf8mb4), '$[*]' columns (i for ordinality, v bigint path '$')) o on o.i = v.i
    join json_table(convert(uncompress(t.sequences) using utf8mb4), '$[*]' columns (i for ordinality, v bigint path '$')) s on s.i = v.i
    where v.v is not null and v.v <> 'null'
  ) x
  join device d on d.id = x.device_id
  join channel c on c.id = x.channel_id
  left join unit u on u.id = c.unit_id`;
