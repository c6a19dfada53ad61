/** A snapshot as columns: what all snapshots of a device have in common, and this one's values. */
import type { ChannelValue, Snapshot } from './snapshot.ts';

/** Names, units and kinds, in the order of the values. One object stands for as many snapshots as possible. */
export interface SnapshotLayout {
  readonly deviceType: string;
  readonly channels: readonly string[];
  /** Undefined where there is none. */
  readonly units: readonly (string | undefined)[];
  /** What `typeof` says of each value. */
  readonly kinds: readonly string[];
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
    kinds: readings.map(({ value }) => typeof value),
  };
  return { timeMs, layout, values: readings.map(({ value }) => value) };
}

/** The inverse. */
export function snapshotOf({ timeMs, layout, values }: LaidOutSnapshot): Snapshot {
  const { deviceType, channels, units } = layout;
  const readings = values.map((value, index) => {
    const unit = units[index];
    return { channel: channels[index] ?? '', ...(unit === undefined ? {} : { unit }), value };
  });
  return { timeMs, deviceType, readings };
}
