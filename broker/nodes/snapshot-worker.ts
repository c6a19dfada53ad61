/** A thread that copies the state as it is at one moment, while the broker goes on writing. */
import { workerData } from 'node:worker_threads';
import { readSqliteFile } from '../../runtime/sqlite-file.ts';

const { source, target } = workerData as { readonly source: string; readonly target: string };
const database = readSqliteFile(source);
try {
  database.prepare('VACUUM INTO ?').run(target);
} finally {
  database.close();
}
