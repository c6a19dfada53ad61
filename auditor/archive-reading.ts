/** The envelopes that are kept, read a few at a time for an export, while the auditor keeps more and lets the oldest go. */
import path from 'node:path';
import { readSqliteFile } from '../runtime/sqlite-file.ts';
import type { ArchivedEnvelope, ArchivedKind } from './archive.ts';
import { archivedOf, archiveFileName } from './archive.ts';
import type { ExportBounds } from './export-source.ts';

export interface ArchiveReading {
  /** Of a device, in the order of the ledger. */
  of(device: string, kind: ArchivedKind, bounds: ExportBounds): Generator<ArchivedEnvelope>;
  close(): void;
}

const pageEnvelopes = 20;

/** @param directory - the auditor's data, with an archive in it @throws what SQLite throws */
export function readArchive(directory: string): ArchiveReading {
  const database = readSqliteFile(path.join(directory, archiveFileName));
  const page = database.prepare(
    `SELECT * FROM envelope
     WHERE device = :device AND kind = :kind AND number > :after AND number <= :last
       AND received_ms >= :fromMs AND received_ms < :untilMs
     ORDER BY number LIMIT :limit`,
  );
  return {
    *of(device, kind, bounds) {
      for (let after = -1; ;) {
        const rows = page.all({ device, kind, after, ...bounds, limit: pageEnvelopes });
        const envelopes = rows.map(archivedOf);
        yield* envelopes;
        const last = envelopes.at(-1);
        if (last === undefined || envelopes.length < pageEnvelopes) return;
        after = last.number;
      }
    },
    close: () => database.close(),
  };
}
