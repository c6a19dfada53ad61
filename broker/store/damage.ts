/** A file that does not hold what was written to it: it is not used again before it was checked from end to end. */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import { BrokerError } from '../errors.ts';

/** Beside the file; there as long as nobody knows that the file is good. */
function markOf(file: string): string {
  return `${file}.damaged`;
}

/** @throws the system's error if it cannot be written */
export function markDamaged(file: string, detail: string, nowMs: number): void {
  writeFileSync(markOf(file), `${new Date(nowMs).toISOString()} ${detail}\n`, { mode: 0o600 });
}

/**
 * Of a file without a mark nothing is asked, for to read all of it takes minutes. One that was repaired or replaced has
 * its mark removed.
 *
 * @throws BrokerError `broker.store_damaged`; or the error of SQLite
 */
export function requireSound(file: string, database: DatabaseSync): void {
  const mark = markOf(file);
  if (!existsSync(mark)) return;
  const [finding] = Object.values(database.prepare('PRAGMA integrity_check(1)').get() ?? {});
  if (finding !== 'ok') {
    throw new BrokerError(
      'broker.store_damaged',
      `cannot use ${file}: it is damaged (${String(finding)}): repair it, or move it away`,
    );
  }
  rmSync(mark);
}
