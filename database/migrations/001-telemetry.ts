/** Devices, their channels, what they sent, and who may look at it. */
import type { DdlWords, Migration } from '../ddl.ts';
import { tableStatements } from '../ddl.ts';

export const telemetry: Migration = {
  name: '001-telemetry',
  statements: (words) => [
    ...catalogue(words),
    ...snapshots(words),
    ...values(words),
    ...irregularities(words),
    ...people(words),
    words.engine === 'sqlite' ? sqliteView : mysqlView,
  ],
};

const pathLengthMax = 62; // domain/namespace.ts: three segments of 20 and two slashes

/** What devices are and what their values mean. */
function catalogue(words: DdlWords): string[] {
  const { id, integer, text, bytes } = words;
  return [
    ...tableStatements(words, 'device_type', [
      `id ${id}`,
      `name ${text(64)} not null unique`,
      `created_ms ${integer} not null`,
    ]),
    ...tableStatements(words, 'device', [
      `id ${id}`,
      `path ${text(pathLengthMax)} not null unique`,
      `device_type_id ${integer}`, // null until the first snapshot
      `owner ${text(200)} not null default ''`,
      `first_seen_ms ${integer} not null`,
      `connection ${text(8)} not null default 'unknown'`,
      `agent_version ${text(40)} not null default ''`,
      `status_ms ${integer}`,
      `device_condition ${text(8)} not null default 'unknown'`,
      `received_ms ${integer}`,
      `last_sequence ${integer} not null default 0`,
      `last_snapshot_ms ${integer}`,
      `last_digest ${bytes(64)}`,
      `\`stored\` ${integer} not null default 0`, // a reserved word of MySQL's
      `redelivered ${integer} not null default 0`,
      `latest_sequence ${integer} not null default 0`,
      `latest_ordinal ${integer} not null default 0`,
      `head_count ${integer} not null default 0`,
      `zone_ordinal ${integer} not null default 0`,
      `sealings ${integer} not null default 0`,
      `chunk_span_ms ${integer} not null default 0`,
    ]),
    ...tableStatements(words, 'unit', [`id ${id}`, `symbol ${text(32)} not null unique`]),
    ...tableStatements(words, 'channel_group', [
      `id ${id}`,
      `device_type_id ${integer} not null`,
      `name ${text(64)} not null`,
      'unique (device_type_id, name)',
    ]),
    ...tableStatements(words, 'channel', [
      `id ${id}`,
      `device_type_id ${integer} not null`,
      `group_id ${integer} not null`,
      `name ${text(64)} not null`,
      `unit_id ${integer}`,
      `kind ${text(8)} not null`,
      `created_ms ${integer} not null`,
      `changes ${integer} not null default 0`,
      'unique (device_type_id, name)',
    ]),
    ...tableStatements(
      words,
      'channel_change',
      [
        `id ${id}`,
        `channel_id ${integer} not null`,
        `changed_ms ${integer} not null`,
        `field ${text(8)} not null`,
        `old_value ${text(32)} not null`,
        `new_value ${text(32)} not null`,
      ],
      { indexes: { by_channel: 'channel_id, id' } },
    ),
  ];
}

/** One row per envelope. `id` counts up in the order of commits, so a reader can keep a cursor on it. */
function snapshots(words: DdlWords): string[] {
  const { id, integer, bytes } = words;
  return [
    ...tableStatements(words, 'snapshot', [
      `id ${id}`,
      `device_id ${integer} not null`,
      `sequence ${integer} not null`,
      `time_ms ${integer} not null`,
      `received_ms ${integer} not null`,
      `digest ${bytes(64)} not null`,
      `signer ${bytes(32)} not null`,
      'unique (device_id, sequence)',
    ]),
    // What is no snapshot, such as a command's result, takes a sequence all the same.
    ...tableStatements(
      words,
      'other_envelope',
      [
        `device_id ${integer} not null`,
        `sequence ${integer} not null`,
        `received_ms ${integer} not null`,
        `digest ${bytes(64)} not null`,
        'primary key (device_id, sequence)',
      ],
      { clustered: true },
    ),
    // Its one row is locked by whoever stores snapshots, so that ids are committed in their order.
    ...tableStatements(words, 'ingest_turn', [`id ${integer} primary key`, `batches ${integer} not null`]),
    words.engine === 'sqlite'
      ? 'insert or ignore into ingest_turn (id, batches) values (1, 0)'
      : 'insert ignore into ingest_turn (id, batches) values (1, 0)',
  ];
}

/** How values rest: docs/decisions/0003-database.md. */
function values(words: DdlWords): string[] {
  const { integer, real, longBytes } = words;
  return [
    ...tableStatements(
      words,
      'head',
      [
        `device_id ${integer} not null`,
        `ordinal ${integer} not null`,
        `sequence ${integer} not null`,
        `time_ms ${integer} not null`,
        `payload ${longBytes} not null`, // database/head.ts: [[channel id, value], …]
        'primary key (device_id, ordinal)',
      ],
      { clustered: true, indexes: { by_sequence: 'device_id, sequence' } },
    ),
    ...tableStatements(
      words,
      'open_zone',
      [
        `device_id ${integer} not null primary key`,
        `t0 ${integer} not null`,
        `t1 ${integer} not null`,
        `data ${longBytes} not null`,
      ],
      { clustered: true },
    ),
    ...tableStatements(
      words,
      'chunk_time',
      [
        `device_id ${integer} not null`,
        `t0 ${integer} not null`,
        `sealing ${integer} not null`,
        `t1 ${integer} not null`,
        `n ${integer} not null`,
        `times ${longBytes} not null`, // [milliseconds since t0, …]
        `sequences ${longBytes} not null`, // [sequence, …]
        'primary key (device_id, t0, sealing)',
      ],
      { clustered: true },
    ),
    ...tableStatements(
      words,
      'chunk',
      [
        `device_id ${integer} not null`,
        `channel_id ${integer} not null`,
        `t0 ${integer} not null`,
        `sealing ${integer} not null`,
        `t1 ${integer} not null`,
        `n ${integer} not null`, // values that are numbers or booleans
        `vmin ${real}`,
        `vmax ${real}`,
        `vsum ${real}`,
        `vlast ${real}`,
        `data ${longBytes} not null`, // [value or null, …], as many as chunk_time.times
        'primary key (device_id, channel_id, t0, sealing)',
      ],
      { clustered: true, indexes: { by_extreme: 'channel_id, device_id, vmax, vmin' } },
    ),
  ];
}

/** What did not go as it should. */
function irregularities(words: DdlWords): string[] {
  const { id, integer, text, bytes, longBytes } = words;
  return [
    ...tableStatements(
      words,
      'gap',
      [
        `id ${id}`,
        `device_id ${integer} not null`,
        `from_sequence ${integer} not null`,
        `to_sequence ${integer} not null`,
        `opened_ms ${integer} not null`,
        `closed_ms ${integer}`,
      ],
      { indexes: { open: 'closed_ms, device_id, to_sequence' } },
    ),
    ...tableStatements(
      words,
      'alarm',
      [
        `id ${id}`,
        `device_id ${integer} not null`,
        `kind ${text(16)} not null`,
        `sequence ${integer} not null`,
        `stored_digest ${bytes(64)} not null`,
        `other_digest ${bytes(64)} not null`,
        `opened_ms ${integer} not null`,
        `closed_ms ${integer}`,
        'unique (device_id, kind, sequence, other_digest)',
      ],
      { indexes: { open: 'closed_ms, device_id' } },
    ),
    ...tableStatements(
      words,
      'dead_letter',
      [
        `id ${id}`,
        `topic ${text(256)} not null`,
        `device_path ${text(pathLengthMax)} not null`,
        `reason ${text(48)} not null`,
        `detail ${text(400)} not null`,
        `received_ms ${integer} not null`,
        `payload ${longBytes} not null`,
      ],
      { indexes: { by_path: 'device_path, id', by_reason: 'reason, device_path, id' } },
    ),
    ...tableStatements(words, 'certificate', [
      `id ${id}`,
      `device_id ${integer} not null`,
      `kind ${text(4)} not null`,
      `sha256 ${bytes(32)} not null`,
      `subject ${text(64)} not null`,
      `not_before_ms ${integer} not null`,
      `not_after_ms ${integer} not null`,
      `received_ms ${integer} not null`,
      `chain ${longBytes} not null`, // CBOR array of DER, leaf first
      'unique (device_id, kind, sha256)',
    ]),
  ];
}

function people(words: DdlWords): string[] {
  const { id, integer, text, longText, bytes, longBytes } = words;
  return [
    ...tableStatements(
      words,
      'command',
      [
        `id ${text(36)} not null primary key`,
        `device_id ${integer} not null`,
        `name ${text(32)} not null`,
        `parameters ${longText} not null`,
        `issued_by ${text(64)} not null`,
        `issued_ms ${integer} not null`,
        `expires_ms ${integer} not null`,
        `state ${text(10)} not null`,
        `state_ms ${integer} not null`,
        `detail ${text(1000)} not null`,
        `sequence ${integer} not null unique`, // of the service that issued it
        `digest ${bytes(64)} not null`,
        `envelope ${longBytes} not null`,
      ],
      { indexes: { by_device: 'device_id, issued_ms', by_state: 'state, expires_ms' } },
    ),
    ...tableStatements(words, 'user', [
      `id ${id}`,
      `name ${text(64)} not null unique`,
      `password_hash ${text(255)} not null`,
      `role ${text(12)} not null`,
      `scope ${text(pathLengthMax)} not null`,
      `created_ms ${integer} not null`,
    ]),
    ...tableStatements(
      words,
      'user_session',
      [
        `token_hash ${bytes(32)} not null primary key`,
        `user_id ${integer} not null`,
        `created_ms ${integer} not null`,
        `expires_ms ${integer} not null`,
      ],
      { indexes: { by_user: 'user_id', by_expiry: 'expires_ms' } },
    ),
    ...tableStatements(words, 'change_mark', [
      `what ${text(16)} not null primary key`,
      `times ${integer} not null`,
    ]),
  ];
}

// One row per value, in plain SQL. A convenience: no query of ours depends on it (TiDB has no JSON_TABLE).
// A boolean is 1 or 0 in number_value and 'true' or 'false' in text_value; a text has no number_value.
// -0 shows as 0 here, and as itself to programs.
const sqliteView = `create view if not exists v_value as
  select d.path as device, c.name as channel, u.symbol as unit, x.sequence, x.time_ms, x.number_value, x.text_value
  from (
    select h.device_id, json_extract(j.value, '$[0]') as channel_id, h.sequence, h.time_ms,
      case when json_type(j.value, '$[1]') <> 'text' then json_extract(j.value, '$[1]') + 0.0 end as number_value,
      case json_type(j.value, '$[1]')
        when 'true' then 'true' when 'false' then 'false' when 'text' then json_extract(j.value, '$[1]') end as text_value
    from head h, json_each(uncompress(h.payload)) j
    union all
    select k.device_id, k.channel_id, s.value, t.t0 + o.value,
      case when v.type <> 'text' then v.value + 0.0 end,
      case v.type when 'true' then 'true' when 'false' then 'false' when 'text' then v.value end
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
    case when left(x.v, 1) <> '"' then case x.v when 'true' then 1 when 'false' then 0 else x.v + 0e0 end end as number_value,
    case when left(x.v, 1) = '"' then json_unquote(x.v) when x.v in ('true', 'false') then x.v end as text_value
  from (
    select h.device_id, j.channel_id, h.sequence, h.time_ms, j.v
    from head h, json_table(convert(uncompress(h.payload) using utf8mb4), '$[*]'
      columns (channel_id bigint path '$[0]', v json path '$[1]')) j
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
