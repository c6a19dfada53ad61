/** What a copy that is not whole says of itself in its target, so that nobody takes it for a database. */
import type { Database } from './connect.ts';
import { DatabaseError } from './errors.ts';
import { hasTable } from './rows.ts';

/** In the target while the copy is not whole: what the source was like when it began. */
export const markTable = 'copy_mark';

export function isUnfinishedCopy(database: Database): Promise<boolean> {
  return hasTable(database, markTable);
}

/** @throws DatabaseError `database.conflict` */
export async function requireWhole(database: Database): Promise<void> {
  if (!(await isUnfinishedCopy(database))) return;
  throw new DatabaseError(
    'database.conflict',
    'plombe db copy into this database was cut off, and has to be called again before anything uses it',
  );
}
