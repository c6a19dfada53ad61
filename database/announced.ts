/**
 * A device that says that a broker took more of it than ever came has a gap behind its newest: of what was lost with a database
 * that was restored, or with a broker, also when the device is silent from then on. It is no row of `gap`: nobody has signed
 * the number, so it must vanish with the next that the device says, and with the envelope when that comes.
 */
import { sql } from 'kysely';
import type { RawBuilder } from 'kysely';

/** What is on its way, or waits for somebody to release it, comes late; it is not missing at once. */
export const announcedSettleMs = 5 * 60_000;

/** @returns SQL for 1 if the device, of the table `device`, has such a gap, and 0 if not */
export function isBehindAnnounced(nowMs: number): RawBuilder<number> {
  return sql<number>`case when device.announced_sequence > device.last_sequence
    and device.announced_ms <= ${nowMs - announcedSettleMs} then 1 else 0 end`;
}
