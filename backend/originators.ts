/** Whose certificates are kept in the database, for whoever needs those of one device now and then. */
import { OriginatorDirectory } from '../cms/originator-directory.ts';
import type { Originator } from '../cms/originator.ts';
import { readChains } from '../database/certificates.ts';
import type { Database } from '../database/connect.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import type { Certificate } from '../pki/certificate.ts';
import { restoreOriginators } from './published-chains.ts';

/** @returns the newest certificates of a device that are kept, verified now */
export async function readOriginator(
  database: Database,
  roots: readonly Certificate[],
  path: NamespacePath,
  nowMs: number,
): Promise<Originator | undefined> {
  const directory = new OriginatorDirectory(roots);
  // What is not to be trusted any more was said when the program started.
  restoreOriginators(directory, await readChains(database, path), nowMs, () => undefined);
  return directory.newestOf(path);
}
