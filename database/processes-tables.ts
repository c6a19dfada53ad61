/**
 * The tables of workflows as Kysely sees them; `migrations/002-processes.ts` says what each means.
 * Type aliases, because `withTables` wants an index signature, which an interface has not.
 */
import type {
  Condition,
  InstanceState,
  NotificationChannel,
  NotificationState,
  TaskState,
} from '../domain/view.ts';

export type ProcessTables = {
  process_definition: ProcessDefinitionTable;
  device_type_rules: DeviceTypeRulesTable;
  process_cursor: ProcessCursorTable;
  condition_state: ConditionStateTable;
  process_instance: ProcessInstanceTable;
  process_token: ProcessTokenTable;
  task: TaskTable;
  notification: NotificationTable;
};

export type TokenWait = 'task' | 'timer' | 'join';

type ProcessDefinitionTable = {
  /** SHA-256 of the file, hex. */
  digest: string;
  name: string;
  title: string;
  xml: Uint8Array;
  /** When bpm last started with it: the latest of a name is the current one. */
  loaded_ms: number;
};

type DeviceTypeRulesTable = {
  device_type: string;
  /** JSON, as bpm read it from the rule file. */
  rules: string;
};

type ProcessCursorTable = {
  name: string;
  /** `snapshot.id` of the last snapshot that was judged. */
  position: number;
};

export type ConditionStateTable = {
  device_id: number;
  /** Of the last snapshot that was judged; older ones come too late to say anything. */
  sequence: number;
  device_condition: Condition;
  candidate: Condition | null;
  candidate_count: number;
  since_ms: number | null;
  reason: string;
};

export type ProcessInstanceTable = {
  /** A UUID. */
  id: string;
  definition: string;
  digest: string;
  device_id: number;
  classification: Condition;
  /** `device_id/classification` while it is open, else null; unique, so that there is never a second open one. */
  open_key: string | null;
  state: InstanceState;
  /** JSON object. */
  variables: string;
  /** JSON array of element and flow ids, in order. */
  visited: string;
  started_ms: number;
  ended_ms: number | null;
  /** Why it failed. */
  detail: string;
};

export type ProcessTokenTable = {
  /** A UUID; the task that it waits for has the same. */
  id: string;
  instance_id: string;
  element_id: string;
  waits_for: TokenWait;
  arrived_by: string | null;
  due_ms: number | null;
  host_token_id: string | null;
};

export type TaskTable = {
  id: string;
  instance_id: string;
  element_id: string;
  device_id: number;
  title: string;
  assignee: string;
  instructions: string;
  state: TaskState;
  created_ms: number;
  completed_ms: number | null;
  completed_by: string;
  comment: string;
};

export type NotificationTable = {
  /** A UUID; also in the Message-ID, so that a mail that came twice can be recognised. */
  id: string;
  instance_id: string;
  device_id: number;
  channel: NotificationChannel;
  /** Addresses or numbers, joined by commas. */
  recipients: string;
  subject: string;
  body: string;
  state: NotificationState;
  attempts: number;
  /** Not before this moment is it tried (again). */
  due_ms: number;
  created_ms: number;
  sent_ms: number | null;
  /** What the last attempt met. */
  detail: string;
};
