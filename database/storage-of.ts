/** Which form the values of a database have: it says so itself, from the first snapshot on for good. */
import { chunkStorage } from './chunks/storage.ts';
import type { Database } from './connect.ts';
import { DatabaseError } from './errors.ts';
import { rowStorage } from './plain-rows/storage.ts';
import type { StorageForm } from './schema.ts';
import { inSnapshot, inTransaction } from './statements.ts';
import type { Storage } from './storage.ts';

export const storageForms = ['chunks', 'rows'] as const satisfies readonly StorageForm[];
const storages: Readonly<Record<StorageForm, Storage>> = { chunks: chunkStorage, rows: rowStorage };

/** Of databases in which something is stored: from then on it stays what it is. */
const settled = new WeakMap<Database, StorageForm>();

export const storageSql = 'select s.form, t.batches from storage s join ingest_turn t on t.id = s.id';

export interface StorageRow {
  readonly form: StorageForm;
  readonly batches: number;
}

export async function storageOf(database: Database): Promise<Storage> {
  const known = settled.get(database);
  if (known !== undefined) return storages[known];
  const [row] = await inSnapshot(database, (statements) => statements.all<StorageRow>(storageSql, []));
  const form = row?.form ?? 'chunks';
  if (row !== undefined && row.batches > 0) settled.set(database, form);
  return storages[form];
}

export function storageFor(form: StorageForm): Storage {
  return storages[form];
}

/**
 * Decides how the values of an empty database will rest.
 *
 * @throws DatabaseError `database.conflict` if something is stored in the other form
 */
export async function chooseStorage(database: Database, form: StorageForm): Promise<void> {
  await inTransaction(database, async (statements) => {
    // As whoever stores does, so that nobody begins meanwhile.
    await statements.run('update ingest_turn set batches = batches where id = 1', []);
    const [row] = await statements.all<StorageRow>(storageSql, []);
    if (row?.form === form) return;
    if (row !== undefined && row.batches > 0)
      throw new DatabaseError(
        'database.conflict',
        `the values in this database rest as ${row.form}, not as ${form}: plombe db copy --storage ${form} moves them to another one`,
      );
    await statements.run('update storage set form = ? where id = 1', [form]);
  });
}

/** For an emptied database, whatever it was before. */
export async function imposeStorage(database: Database, form: StorageForm): Promise<void> {
  settled.delete(database);
  await inTransaction(database, (statements) =>
    statements.run('update storage set form = ? where id = 1', [form]),
  );
}
