/** A thread that copies the state as it is at one moment, while the broker goes on writing. */
import { DatabaseSync } from 'node:sqlite';
import { workerData } from 'node:worker_threads';

const { source, target } = workerData as { readonly source: string; readonly target: string };
const database = new DatabaseSync(source, { readOnly: true });
try {
  database.prepare('VACUUM INTO ?').run(target);
} finally {
  database.close();
}
