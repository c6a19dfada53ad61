/** Sequences: which numbers of a device are missing, and what is said against a number that came twice. */
import type { DeviceState } from './device-state.ts';
import type { AlarmKind } from './schema.ts';
import type { Statements } from './statements.ts';

/** How many alarms one device may have; later ones are counted and not kept. */
export const alarmsPerDeviceMax = 1000;

interface GapRow {
  readonly id: number;
  readonly from_sequence: number;
  readonly to_sequence: number;
  readonly opened_ms: number;
}

// Open gaps of a device do not overlap, so the first that ends at or after a number is the only one that can hold it.
const selectGap = `select id, from_sequence, to_sequence, opened_ms from gap
  where closed_ms is null and device_id = ? and to_sequence >= ? order by to_sequence limit 1`;
const insertGap = 'insert into gap (device_id, from_sequence, to_sequence, opened_ms) values (?, ?, ?, ?)';

/**
 * Opens a gap before a sequence that skips some, or takes a late sequence out of its gap. A device counts from 1,
 * so one that is first heard of at 5 lacks 1 to 4.
 *
 * @param device - before `sequence` is noted in it
 * @returns whether the gaps changed
 */
export async function keepGaps(
  statements: Statements,
  device: DeviceState,
  sequence: number,
  nowMs: number,
): Promise<boolean> {
  const expected = device.last_sequence + 1;
  if (sequence === expected) return false;
  if (sequence > expected) {
    await statements.run(insertGap, [device.id, expected, sequence - 1, nowMs]);
    return true;
  }
  const gap = await findGap(statements, device.id, sequence);
  if (gap === undefined) return false;
  if (gap.from_sequence === gap.to_sequence) {
    await statements.run('update gap set closed_ms = ? where id = ?', [nowMs, gap.id]);
  } else if (sequence === gap.from_sequence) {
    await statements.run('update gap set from_sequence = ? where id = ?', [sequence + 1, gap.id]);
  } else {
    await statements.run('update gap set to_sequence = ? where id = ?', [sequence - 1, gap.id]);
    if (sequence < gap.to_sequence) {
      await statements.run(insertGap, [device.id, sequence + 1, gap.to_sequence, gap.opened_ms]);
    }
  }
  return true;
}

/** @returns the open gap of the device that a number lies in */
export async function findGap(
  statements: Statements,
  deviceId: number,
  sequence: number,
): Promise<GapRow | undefined> {
  const [gap] = await statements.all<GapRow>(selectGap, [deviceId, sequence]);
  return gap === undefined || gap.from_sequence > sequence ? undefined : gap;
}

/** @returns whether it is new and there was room */
export async function raiseAlarm(
  statements: Statements,
  device: DeviceState,
  alarm: {
    readonly kind: AlarmKind;
    readonly sequence: number;
    readonly storedDigest: Uint8Array;
    readonly otherDigest: Uint8Array;
  },
  nowMs: number,
): Promise<boolean> {
  const known = await statements.all(
    'select id from alarm where device_id = ? and kind = ? and sequence = ? and other_digest = ?',
    [device.id, alarm.kind, alarm.sequence, alarm.otherDigest],
  );
  if (known.length > 0) return false;
  const [row] = await statements.all<{ n: number }>('select count(*) as n from alarm where device_id = ?', [
    device.id,
  ]);
  if ((row?.n ?? 0) >= alarmsPerDeviceMax) return false;
  await statements.run(
    'insert into alarm (device_id, kind, sequence, stored_digest, other_digest, opened_ms) values (?, ?, ?, ?, ?, ?)',
    [device.id, alarm.kind, alarm.sequence, alarm.storedDigest, alarm.otherDigest, nowMs],
  );
  return true;
}
