/** Heads of customers' ledgers that were countersigned, and whether what they are about has come. */
import type { Database } from './connect.ts';

export interface LedgerHead {
  /** Which ledger. */
  readonly origin: string;
  readonly owner: string;
  readonly size: number;
  /** Of its tree, one after the other. */
  readonly subtrees: Uint8Array;
  /** With both signatures. */
  readonly head: Uint8Array;
  readonly countersignedMs: number;
}

const lettersMax = 1000;

/** @returns undefined if none of that ledger was countersigned */
export async function readLedgerHead(database: Database, origin: string): Promise<LedgerHead | undefined> {
  return database.kysely
    .selectFrom('ledger_head')
    .select(['origin', 'owner', 'size', 'subtrees', 'head', 'countersigned_ms as countersignedMs'])
    .where('origin', '=', origin)
    .executeTakeFirst();
}

/**
 * Keeps a head in the place of the one before, unless somebody else has done so meanwhile.
 *
 * @param sizeBefore - of the one that it continues; 0 if there is none
 * @returns whether it was kept
 */
export async function keepLedgerHead(
  database: Database,
  kept: LedgerHead,
  sizeBefore: number,
): Promise<boolean> {
  const { origin, owner, size, subtrees, head, countersignedMs } = kept;
  const changed = { size, subtrees, head, countersigned_ms: countersignedMs };
  return database.transaction(async (transaction) => {
    if (sizeBefore === 0) {
      const known = await transaction
        .selectFrom('ledger_head')
        .select('size')
        .where('origin', '=', origin)
        .executeTakeFirst();
      if (known !== undefined) return false;
      await transaction
        .insertInto('ledger_head')
        .values({ origin, owner, ...changed })
        .execute();
      return true;
    }
    const { numUpdatedRows } = await transaction
      .updateTable('ledger_head')
      .set(changed)
      .where('origin', '=', origin)
      .where('size', '=', sizeBefore)
      .executeTakeFirst();
    return numUpdatedRows === 1n;
  });
}

/** @returns the digests that were stored for these numbers of a device, of snapshots and of everything else */
export async function readDigests(
  database: Database,
  device: string,
  sequences: readonly number[],
): Promise<Map<number, Uint8Array>> {
  const found = await Promise.all(
    (['snapshot', 'other_envelope'] as const).map((table) =>
      database.kysely
        .selectFrom(table)
        .innerJoin('device', 'device.id', `${table}.device_id`)
        .select([`${table}.sequence as sequence`, `${table}.digest as digest`])
        .where('device.path', '=', device)
        .where(`${table}.sequence`, 'in', [...sequences])
        .execute(),
    ),
  );
  return new Map(found.flat().map(({ sequence, digest }) => [sequence, digest]));
}

/** @returns the newest envelopes of a device that came and were not taken, at most 1,000 */
export async function readUntaken(database: Database, device: string): Promise<Uint8Array[]> {
  const rows = await database.kysely
    .selectFrom('dead_letter')
    .select('payload')
    .where('device_path', '=', device)
    .orderBy('id', 'desc')
    .limit(lettersMax)
    .execute();
  return rows.map(({ payload }) => payload);
}
