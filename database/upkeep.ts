/** In the background: what rests is put in order, old values are thinned, and older ones dropped, by policy. */
import type { Database } from './connect.ts';
import type { RetentionPolicy } from './retention.ts';
import { whenFree } from './sqlite-dialect.ts';
import { inSnapshot } from './statements.ts';
import { storageOf } from './storage-of.ts';

export interface UpkeepPolicies {
  readonly otherwise: RetentionPolicy;
  /** By name of the device type. */
  readonly byType: Readonly<Record<string, RetentionPolicy>>;
}

export const keepEverything: UpkeepPolicies = { otherwise: {}, byType: {} };

export interface Upkeep {
  /**
   * One piece of work, of at most some tenths of a second, most of it outside of any writing transaction.
   *
   * @returns whether there may be more
   */
  step(nowMs: number): Promise<boolean>;
}

interface Candidate {
  readonly id: number;
  readonly type: string | null;
}

/** https://www.sqlite.org/pragma.html#pragma_auto_vacuum */
const incremental = 2;
/** What is free is used again by what comes; more than this part of the file is given back. */
const freeShareMax = 1 / 20;
const pagesGivenBackMax = 1000;

export const upkeepSql = {
  devices: `select d.id, t.name as type from device d left join device_type t on t.id = d.device_type_id
    where d.id > ? and d.stored > 0 order by d.id limit 1`,
} as const;

export function createUpkeep(database: Database, policies: UpkeepPolicies = keepEverything): Upkeep {
  let after = 0;
  return {
    step: async (nowMs) => {
      const candidate = await inSnapshot(database, async (statements) => {
        const [row] = await statements.all<Candidate>(upkeepSql.devices, [after]);
        return row;
      });
      if (candidate === undefined) {
        const isMore = await giveBack(database);
        if (!isMore) after = 0;
        return isMore;
      }
      const policy = policies.byType[candidate.type ?? ''] ?? policies.otherwise;
      const storage = await storageOf(database);
      let isMore = false;
      try {
        isMore = await storage.keepUp(database, candidate.id, policy, nowMs);
      } finally {
        // Also where something of a device cannot be read: the others have their turn.
        if (!isMore) after = candidate.id;
      }
      return true;
    },
  };
}

/** @returns whether there are more free pages in SQLite's file than it needs */
async function giveBack(database: Database): Promise<boolean> {
  if (database.engine !== 'sqlite') return false;
  return database.exclusively(async (raw) => {
    const pragma = (name: string): number => Number(raw.prepare(`pragma ${name}`).get()?.[name] ?? 0);
    if (pragma('auto_vacuum') !== incremental) return false; // made by an earlier version
    const spare = pragma('freelist_count') - pragma('page_count') * freeShareMax;
    if (spare <= 0) return false;
    const pages = Math.min(pagesGivenBackMax, Math.ceil(spare));
    await whenFree(() => raw.exec(`pragma incremental_vacuum(${pages})`));
    return spare > pagesGivenBackMax;
  });
}
