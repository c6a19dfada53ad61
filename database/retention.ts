/** How long values are kept. */

/** Of a device type. Days are 24 hours. */
export interface RetentionPolicy {
  /** Absent: they stay whole for as long as they are kept. */
  readonly thinned?: { readonly afterDays: number; readonly perDay: number };
  /** Absent: forever. */
  readonly droppedAfterDays?: number;
}

/**
 * How many snapshots upkeep takes at a time. A run of so many decodes at 30 ns a value instead of 160, and takes two thirds
 * of the space. Twice as many on SQLite, whose overflow pages would be three quarters empty (34 million values: 2.3 bytes
 * each, instead of 1.9), and half as many on InnoDB, whose files keep the room that the small ones took (4.7 bytes, instead
 * of 5.1).
 */
export const snapshotsPerRun = { sqlite: 4096, mysql: 2048 } as const;
/** Of fewer, nearly every snapshot would be kept for some channel's extreme. */
export const thinnedShareMin = 1 / 2;
export const dayMs = 86_400_000;
