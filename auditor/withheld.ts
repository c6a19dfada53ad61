/** How many envelopes of each device have not left, as the index of the ledger says, also while the auditor runs. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { outcomes } from '../ledger/leaf.ts';
import { hasTables, readSqliteFile } from '../runtime/sqlite-file.ts';
import { indexFileName } from './record-index.ts';

export interface Withheld {
  /** They wait for a person. */
  readonly held: number;
  readonly denied: number;
}

/** What the ledger says of an envelope last; a copy that could not be opened says nothing about the genuine one. */
const withheldSql = `
  SELECT stream, outcome, count(*) AS envelopes FROM leaf AS one
  WHERE outcome IN (:held, :denied) AND stream IS NOT NULL AND coalesce(reason, '') NOT LIKE 'cms.%'
    AND NOT EXISTS (
      SELECT 1 FROM leaf AS later
      WHERE later.digest = one.digest AND later.stream = one.stream AND later.number > one.number
        AND coalesce(later.reason, '') NOT LIKE 'cms.%'
    )
  GROUP BY stream, outcome`;

/**
 * @param dataDirectory - the `data` of the auditor's configuration
 * @returns by stream: a device, or one of its groups of readers; a stream of which everything has left is not in it
 */
export function withheldIn(dataDirectory: string): Map<string, Withheld> {
  const file = path.join(dataDirectory, indexFileName);
  const found = new Map<string, Withheld>();
  if (!existsSync(file)) return found;
  const index = readSqliteFile(file);
  try {
    if (!hasTables(index)) return found;
    const rows = index
      .prepare(withheldSql)
      .all({ held: outcomes.indexOf('held'), denied: outcomes.indexOf('denied') });
    for (const row of rows) {
      const stream = String(row['stream']);
      const outcome = Number(row['outcome']) === outcomes.indexOf('held') ? 'held' : 'denied';
      const known = found.get(stream) ?? { held: 0, denied: 0 };
      found.set(stream, { ...known, [outcome]: Number(row['envelopes']) });
    }
    return found;
  } finally {
    index.close();
  }
}
