/** A snapshot as columns: what all snapshots of a device have in common, and this one's values. */
import type { ChannelValue, Snapshot } from './snapshot.ts';

/** Names and units, in the order of the values. One object stands for as many snapshots as possible. */
export interface SnapshotLayout {
  readonly deviceType: string;
  readonly channels: readonly string[];
  /** Undefined where there is none. */
  readonly units: readonly (string | undefined)[];
}

export interface LaidOutSnapshot {
  /** By the device's clock. */
  readonly timeMs: number;
  readonly layout: SnapshotLayout;
  readonly values: readonly ChannelValue[];
}

export function layOut({ timeMs, deviceType, readings }: Snapshot): LaidOutSnapshot {
  const layout = {
    deviceType,
    channels: readings.map(({ channel }) => channel),
    units: readings.map(({ unit }) => unit),
  };
  return { timeMs, layout, values: readings.map(({ value }) => value) };
}
