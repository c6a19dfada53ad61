/** What a person sees: the JSON that the database fills, the API carries, and the dashboard shows. */
import type { ChannelValue } from './snapshot.ts';

/** The state of a device as the vendor's rules judge it; written by bpm. */
export type Condition = 'normal' | 'abnormal' | 'overdue' | 'unknown';
export type Connection = 'online' | 'offline' | 'unknown';
export type InstanceState = 'running' | 'completed' | 'failed';
export type TaskState = 'open' | 'completed' | 'cancelled';
export type NotificationState = 'pending' | 'sending' | 'sent' | 'failed' | 'listed';
/** `webhook`: what a service task does, a POST to the one address of the configuration. */
export type NotificationChannel = 'mail' | 'sms' | 'webhook';

export interface Totals {
  readonly devices: number;
  /** Snapshots, each counted once. */
  readonly stored: number;
  /** Envelopes that came again and were not stored again. */
  readonly redelivered: number;
  readonly gapsOpen: number;
  readonly deadLetters: number;
  readonly alarmsOpen: number;
  readonly tasksOpen: number;
}

export interface FleetRow {
  readonly path: string;
  /** Empty until the first snapshot. */
  readonly deviceType: string;
  readonly connection: Connection;
  readonly agentVersion: string;
  readonly lastSequence: number;
  readonly stored: number;
  readonly lastSnapshotMs: number | null;
  readonly receivedMs: number | null;
  readonly condition: Condition;
  readonly gapsOpen: number;
  /** What people say of it; empty where nobody did. */
  readonly owner: string;
  readonly labels: readonly string[];
  readonly technician: string;
}

/** How many devices of a type a person sees. */
export interface DeviceTypeItem {
  readonly name: string;
  readonly devices: number;
}

/** The same machine under the name that it had, or has, with another owner. */
export interface Kin {
  readonly path: string;
  readonly stored: number;
  readonly firstSeenMs: number;
  readonly lastSnapshotMs: number | null;
  /** When and by whom the two were said to be one. */
  readonly notedMs: number;
  readonly notedBy: string;
}

/** A customer's broker, as it last said of itself. */
export interface BrokerRow {
  /** Of the account or master account whose broker it is. */
  readonly path: string;
  readonly name: string;
  readonly version: string;
  readonly connection: 'online' | 'offline';
  readonly receivedMs: number;
  /** Null while it is not connected. */
  readonly connectedSinceMs: number | null;
  /** Messages that wait there for the broker above, and their bytes. */
  readonly queued: number;
  readonly queuedBytes: number;
  readonly oldestWaitingMs: number;
  readonly forwardedUp: number;
  readonly forwardedDown: number;
  /** Messages that the broker above would not take, and that are kept aside there. */
  readonly refused: number;
}

export interface LatestValue {
  readonly channel: string;
  readonly group: string;
  /** Null where the device states none. */
  readonly unit: string | null;
  readonly value: ChannelValue;
  readonly timeMs: number;
}

export interface Gap {
  readonly fromSequence: number;
  /** Inclusive. */
  readonly toSequence: number;
  readonly openedMs: number;
}

export interface Series {
  readonly channel: string;
  readonly unit: string | null;
  /**
   * When the first value of each point was measured, or a little before it: the start of the values that rest together with
   * it. Rising. The other lists have the same length.
   */
  readonly timesMs: readonly number[];
  readonly min: readonly number[];
  readonly max: readonly number[];
  readonly mean: readonly number[];
}

/** A device beyond a threshold, and how far it went. */
export interface Exceeding {
  readonly path: string;
  readonly extreme: number;
}

/** What a machine worked on one day. */
export interface DayOfWork {
  /** Where the day begins. */
  readonly dayMs: number;
  readonly hours: number;
  /** For so many hours of the day it is known; the share is `hours / knownHours`. */
  readonly knownHours: number;
}

export interface ConditionItem {
  readonly condition: Condition;
  readonly sinceMs: number | null;
  readonly reason: string;
}

export interface Task {
  readonly id: string;
  readonly instanceId: string;
  readonly path: string;
  readonly deviceType: string;
  readonly classification: Condition;
  readonly title: string;
  readonly instructions: string;
  readonly assignee: string;
  readonly state: TaskState;
  readonly createdMs: number;
  readonly completedMs: number | null;
  readonly completedBy: string;
  readonly comment: string;
}

export interface Notification {
  readonly id: string;
  readonly instanceId: string;
  readonly path: string;
  readonly channel: NotificationChannel;
  readonly recipients: string;
  readonly subject: string;
  readonly body: string;
  readonly state: NotificationState;
  readonly attempts: number;
  readonly createdMs: number;
  readonly sentMs: number | null;
  readonly detail: string;
}

export interface Workflow {
  readonly id: string;
  readonly definition: string;
  readonly digest: string;
  readonly path: string;
  readonly classification: Condition;
  readonly state: InstanceState;
  /** Why the condition was what it was. */
  readonly reason: string;
  /** Why it failed. */
  readonly detail: string;
  readonly startedMs: number;
  readonly endedMs: number | null;
  /** Ids of elements and flows, in order. */
  readonly visited: readonly string[];
  /** Ids of the elements where it waits. */
  readonly waitingAt: readonly string[];
}
