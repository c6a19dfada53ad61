/** The tables as Kysely sees them. Times are milliseconds since 1970 in UTC; `…/migrations/` says what each means. */
import type { Generated } from 'kysely';
import type { Condition, Connection } from '../domain/view.ts';

export interface Schema {
  device_type: DeviceTypeTable;
  device: DeviceTable;
  unit: UnitTable;
  channel_group: ChannelGroupTable;
  channel: ChannelTable;
  channel_change: ChannelChangeTable;
  device_metadata: DeviceMetadataTable;
  snapshot: SnapshotTable;
  other_envelope: OtherEnvelopeTable;
  ingest_turn: IngestTurnTable;
  head: HeadTable;
  open_zone: OpenZoneTable;
  chunk_time: ChunkTimeTable;
  chunk: ChunkTable;
  storage: StorageTable;
  value_row: ValueRowTable;
  row_snapshot: RowSnapshotTable;
  gap: GapTable;
  alarm: AlarmTable;
  dead_letter: DeadLetterTable;
  certificate: CertificateTable;
  command: CommandTable;
  user: UserTable;
  user_session: UserSessionTable;
  change_mark: ChangeMarkTable;
  broker_state: BrokerStateTable;
  evidence: EvidenceTable;
  ledger_head: LedgerHeadTable;
  v_value: ValueView;
}

/** How values rest. */
export type StorageForm = 'chunks' | 'rows';
export type ValueKind = 'number' | 'boolean' | 'string';
export type ChannelChangeField = 'unit' | 'kind' | 'name';
export type AlarmKind = 'equivocation' | 'chain_broken';
export type CertificateKind = 'sig' | 'enc';
export type CommandState = 'sent' | 'delivered' | 'done' | 'refused' | 'expired';
export type Role = 'operator' | 'technician' | 'viewer';

interface DeviceTypeTable {
  id: Generated<number>;
  name: string;
  created_ms: number;
}

interface DeviceTable {
  id: Generated<number>;
  path: string;
  /** Null until the first snapshot. */
  device_type_id: number | null;
  owner: Generated<string>;
  first_seen_ms: number;
  connection: Generated<Connection>;
  agent_version: Generated<string>;
  status_ms: number | null;
  device_condition: Generated<Condition>;
  /** When the last snapshot came. */
  received_ms: number | null;
  /** The highest sequence that came, and the digest of that envelope; 0 before the first. */
  last_sequence: Generated<number>;
  last_digest: Uint8Array | null;
  /** How far the device says that it is, and when it first said that number; `announced.ts`. */
  announced_sequence: Generated<number>;
  announced_ms: Generated<number>;
  /** The snapshot with the highest sequence: when it was taken, and its `head.ordinal`. */
  latest_sequence: Generated<number>;
  last_snapshot_ms: number | null;
  /** How many snapshots were ever stored; also the ordinal of the newest arrival. */
  stored: Generated<number>;
  redelivered: Generated<number>;
  latest_ordinal: Generated<number>;
  head_count: Generated<number>;
  /** `open_zone` covers the rows of `head` up to this ordinal. */
  zone_ordinal: Generated<number>;
  sealings: Generated<number>;
  /** The longest `chunk.t1 - chunk.t0` of the device: how far before a range its chunks may begin. */
  chunk_span_ms: Generated<number>;
}

interface UnitTable {
  id: Generated<number>;
  symbol: string;
}

interface ChannelGroupTable {
  id: Generated<number>;
  device_type_id: number;
  name: string;
}

interface ChannelTable {
  id: Generated<number>;
  device_type_id: number;
  group_id: number;
  name: string;
  unit_id: number | null;
  kind: ValueKind;
  created_ms: number;
  /** How many rows of `channel_change` it has; their number is bounded. */
  changes: Generated<number>;
}

interface ChannelChangeTable {
  id: Generated<number>;
  channel_id: number;
  changed_ms: number;
  /** The name of a user; empty where a device did it. */
  changed_by: Generated<string>;
  field: ChannelChangeField;
  old_value: string;
  new_value: string;
}

interface DeviceMetadataTable {
  device_id: number;
  /** A JSON array of texts. */
  labels: string;
  technician: string;
  service_hours: number | null;
  service_days: number | null;
}

interface SnapshotTable {
  /** Counts up in the order of commits. */
  id: Generated<number>;
  device_id: number;
  sequence: number;
  time_ms: number;
  received_ms: number;
  digest: Uint8Array;
  /** SHA-256 of the certificate that signed it. */
  signer: Uint8Array;
}

interface OtherEnvelopeTable {
  device_id: number;
  sequence: number;
  received_ms: number;
  digest: Uint8Array;
}

interface IngestTurnTable {
  id: number;
  batches: number;
}

interface HeadTable {
  device_id: number;
  /** Counts the device's arrivals from 1. */
  ordinal: number;
  sequence: number;
  time_ms: number;
  payload: Uint8Array;
}

interface OpenZoneTable {
  device_id: number;
  t0: number;
  t1: number;
  data: Uint8Array;
}

interface ChunkTimeTable {
  device_id: number;
  t0: number;
  sealing: number;
  t1: number;
  n: number;
  times: Uint8Array;
  sequences: Uint8Array;
}

interface ChunkTable {
  device_id: number;
  channel_id: number;
  t0: number;
  sealing: number;
  t1: number;
  n: number;
  vmin: number | null;
  vmax: number | null;
  vsum: number | null;
  vlast: number | null;
  data: Uint8Array;
}

interface StorageTable {
  id: number;
  form: StorageForm;
}

interface ValueRowTable {
  device_id: number;
  channel_id: number;
  time_ms: number;
  sequence: number;
  kind: number;
  number_value: number | null;
  text_value: string | null;
}

interface RowSnapshotTable {
  device_id: number;
  time_ms: number;
  sequence: number;
}

interface GapTable {
  id: Generated<number>;
  device_id: number;
  from_sequence: number;
  to_sequence: number;
  opened_ms: number;
  closed_ms: number | null;
}

interface AlarmTable {
  id: Generated<number>;
  device_id: number;
  kind: AlarmKind;
  sequence: number;
  stored_digest: Uint8Array;
  other_digest: Uint8Array;
  opened_ms: number;
  closed_ms: number | null;
}

interface DeadLetterTable {
  id: Generated<number>;
  topic: string;
  /** Empty if the topic names no device. */
  device_path: string;
  reason: string;
  detail: string;
  received_ms: number;
  payload: Uint8Array;
}

interface CertificateTable {
  id: Generated<number>;
  device_id: number;
  kind: CertificateKind;
  /** Of the leaf. */
  sha256: Uint8Array;
  subject: string;
  not_before_ms: number;
  not_after_ms: number;
  received_ms: number;
  chain: Uint8Array;
}

interface CommandTable {
  id: string;
  device_id: number;
  name: string;
  parameters: string;
  issued_by: string;
  issued_ms: number;
  expires_ms: number;
  state: CommandState;
  state_ms: number;
  detail: string;
  /** Of the command service's envelopes; never used twice. */
  sequence: number;
  digest: Uint8Array;
  /** As it was sealed once: sent again after a restart, it is the same. */
  envelope: Uint8Array;
}

interface UserTable {
  id: Generated<number>;
  name: string;
  password_hash: string;
  role: Role;
  /** Empty for everything, or a namespace path. */
  scope: string;
  created_ms: number;
}

interface UserSessionTable {
  token_hash: Uint8Array;
  user_id: number;
  created_ms: number;
  expires_ms: number;
}

interface ChangeMarkTable {
  what: string;
  times: number;
}

interface EvidenceTable {
  id: Generated<number>;
  device_id: number;
  sequence: number;
  received_ms: number;
  envelope: Uint8Array;
}

interface LedgerHeadTable {
  origin: string;
  owner: string;
  size: number;
  subtrees: Uint8Array;
  head: Uint8Array;
  countersigned_ms: number;
}

interface BrokerStateTable {
  /** Of the account or master account whose broker it is. */
  path: string;
  name: string;
  version: string;
  connection: 'online' | 'offline';
  /** When it, or its last will, said so. */
  received_ms: number;
  connected_since_ms: number | null;
  queued: number;
  queued_bytes: number;
  oldest_waiting_ms: number;
  forwarded_up: number;
  forwarded_down: number;
  refused: number;
}

interface ValueView {
  device: string;
  channel: string;
  unit: string | null;
  sequence: number;
  time_ms: number;
  number_value: number | null;
  text_value: string | null;
}
