/** Waits for what is on its way into a database. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from '../database/connect.ts';
import { readTotals } from '../database/totals.ts';

const askMs = 1000;
const patienceMs = 60_000;
const everyone = '';

/** Gives up when nothing more arrives for a while. */
export async function untilStored(
  database: Database,
  wanted: number,
  onProgress: (line: string) => void,
): Promise<void> {
  let before = -1;
  for (let idleMs = 0; idleMs < patienceMs; idleMs += askMs) {
    const { stored } = await readTotals(database, everyone);
    onProgress(`${stored} of ${wanted} stored`);
    if (stored >= wanted) return;
    if (stored > before) idleMs = 0;
    before = stored;
    await sleep(askMs);
  }
}
