/** How values rest, in chunks or as plain rows: all that either has to be able to do, so that nobody else knows which it is. */
import type { ChannelValue } from '../domain/snapshot.ts';
import type { Buckets, SeriesRange } from './buckets.ts';
import type { Database } from './connect.ts';
import type { DeviceState } from './device-state.ts';
import type { Extremes, TypePlace, Window } from './extremes.ts';
import type { RetentionPolicy } from './retention.ts';
import type { StorageForm } from './schema.ts';
import type { Statements } from './statements.ts';

/** What a reader needs to know of a device. */
export interface DevicePlace {
  readonly id: number;
  readonly device_type_id: number | null;
  readonly latest_sequence: number;
  readonly last_snapshot_ms: number | null;
  readonly latest_ordinal: number;
  readonly zone_ordinal: number;
  readonly chunk_span_ms: number;
}

const placeFields = [
  'id',
  'device_type_id',
  'latest_sequence',
  'last_snapshot_ms',
  'latest_ordinal',
  'zone_ordinal',
  'chunk_span_ms',
] as const satisfies readonly (keyof DevicePlace)[];

/** @returns what a statement selects of `device`, by that alias, for a `DevicePlace` */
export function placeColumns(alias: string): string {
  return placeFields.map((field) => `${alias}.${field}`).join(', ');
}

export interface NewSnapshot {
  readonly device: DeviceState;
  /** Counts the device's arrivals from 1. */
  readonly ordinal: number;
  readonly sequence: number;
  readonly timeMs: number;
  /** As `encodePairs` makes it. */
  readonly payload: Uint8Array;
}

export interface TimedValue {
  readonly timeMs: number;
  readonly value: ChannelValue;
}

export interface WholeSnapshot {
  readonly timeMs: number;
  readonly sequence: number;
  /** By channel id. */
  readonly values: Map<number, ChannelValue>;
}

/** Snapshots up to a moment, of which there are none left out. */
export interface Piece {
  /** In the order of time, and of sequences within one time. */
  readonly snapshots: readonly WholeSnapshot[];
  readonly untilMs: number;
}

/** A channel and the points that its values go to. */
export interface Drawn {
  readonly id: number;
  readonly buckets: Buckets;
}

/** A snapshot, and which of its channels are wanted. */
export interface Wanted {
  readonly deviceId: number;
  readonly sequence: number;
  readonly timeMs: number;
  readonly channelIds: readonly number[];
}

/** Of each stretch of time up to a moment one snapshot is whole, and of every channel its extremes are there. */
export interface Thinned {
  readonly untilMs: number;
  readonly stretchMs: number;
}

export interface Storage {
  readonly form: StorageForm;
  /** What holds values and nothing else. */
  readonly tables: readonly string[];
  /** In the transaction of a batch, when the devices count what is in it. May change the devices. */
  store(statements: Statements, snapshots: readonly NewSnapshot[]): Promise<void>;
  /** @returns channel id → its value in the newest snapshot, or for what that lacks the newest there is */
  readLatest(
    statements: Statements,
    device: DevicePlace,
    channelIds: readonly number[],
  ): Promise<Map<number, TimedValue>>;
  draw(
    statements: Statements,
    device: DevicePlace,
    drawn: readonly Drawn[],
    range: SeriesRange,
  ): Promise<void>;
  /** @returns in the order of time, both ends included; texts, and what is no finite number, are left out */
  readNumbers(
    statements: Statements,
    device: DevicePlace,
    channelId: number,
    range: Window,
  ): Promise<(readonly [timeMs: number, value: number])[]>;
  /** @returns of each device the number in its newest snapshot */
  readNow(
    statements: Statements,
    channelId: number,
    place: TypePlace,
  ): Promise<{ readonly path: string; readonly value: number }[]>;
  /** @param window - undefined for ever */
  addExtremes(
    statements: Statements,
    channelId: number,
    place: TypePlace,
    window: Window | undefined,
    extremes: Extremes,
  ): Promise<void>;
  /** @returns every channel that the device has values of, also of a type that it had before */
  readChannelIds(statements: Statements, deviceId: number): Promise<number[]>;
  /** @returns whole snapshots from the start of the range on; nothing behind `untilMs` was read */
  readPiece(
    statements: Statements,
    device: DevicePlace,
    range: Window,
    channelIds: readonly number[],
  ): Promise<Piece>;
  /** @returns for each, in their order, its values by channel id; there may be others than were wanted */
  readSnapshots(
    statements: Statements,
    wanted: readonly Wanted[],
  ): Promise<readonly ReadonlyMap<number, ChannelValue>[]>;
  /** One piece of upkeep. @returns whether there was something to do */
  keepUp(database: Database, deviceId: number, policy: RetentionPolicy, nowMs: number): Promise<boolean>;
  /** @returns the sequences of the snapshots that rest, one that rests twice twice */
  check(statements: Statements, deviceId: number, say: (fault: string) => void): Promise<number[]>;
  /** @returns up to where the device's values are thinned; undefined if they are whole */
  readThinned(statements: Statements, deviceId: number): Promise<Thinned | undefined>;
  /**
   * Lays down what `readPiece` read in a database of the other form, from which the rows of all other tables have come, a
   * piece behind the other.
   *
   * @param snapshots - not the one with the highest sequence
   * @param thinned - if that is what they are
   */
  load(
    statements: Statements,
    deviceId: number,
    snapshots: readonly WholeSnapshot[],
    thinned: Thinned | undefined,
  ): Promise<void>;
  /** Behind the last piece. @param newest - the snapshot with the highest sequence, unless it was dropped */
  finishLoad(statements: Statements, deviceId: number, newest: WholeSnapshot | undefined): Promise<void>;
}
