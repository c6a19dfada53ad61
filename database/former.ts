/**
 * One machine under two names: a device that changes hands is another path from then on (decision 0016), and what it sent
 * before stays with its former owner. Who sees both may say that they are one; who sees one alone never learns of the other.
 */
import type { Kin } from '../domain/view.ts';
import { noteChangeBy } from './changes.ts';
import type { Database } from './connect.ts';
import { DatabaseError, isConflict } from './errors.ts';
import type { Scope } from './scope.ts';
import { scopeBounds, scopeCondition } from './scope.ts';
import { inSnapshot, inTransaction } from './statements.ts';

export interface Kinship {
  /** What the device was before; null if it was nothing, or if the scope hides it. */
  readonly former: Kin | null;
  /** What it is now. */
  readonly later: Kin | null;
}

const kinColumns = `k.path, k.stored, k.first_seen_ms as firstSeenMs, k.last_snapshot_ms as lastSnapshotMs,
  f.noted_ms as notedMs, f.noted_by as notedBy`;

export const formerSql = {
  former: `select ${kinColumns} from device d join device_former f on f.device_id = d.id
    join device k on k.id = f.former_id where d.path = ? and ${scopeCondition('k.path')}`,
  later: `select ${kinColumns} from device d join device_former f on f.former_id = d.id
    join device k on k.id = f.device_id where d.path = ? and ${scopeCondition('k.path')}`,
  device: 'select id, first_seen_ms from device where path = ?',
  noted: `select k.path from device_former f join device k on k.id = f.former_id
    where f.device_id = ? and not ${scopeCondition('k.path')}`,
} as const;

interface Place {
  readonly id: number;
  readonly first_seen_ms: number;
}

export async function readKinship(database: Database, scope: Scope, path: string): Promise<Kinship> {
  return inSnapshot(database, async (statements) => {
    const values = [path, ...scopeBounds(scope)];
    const [former] = await statements.all<Kin>(formerSql.former, values);
    const [later] = await statements.all<Kin>(formerSql.later, values);
    return {
      former: former === undefined ? null : { ...former },
      later: later === undefined ? null : { ...later },
    };
  });
}

interface Noting {
  /** Undefined takes back what was said. */
  readonly former: string | undefined;
  readonly by: string;
  /** What `by` may see: what was said of a device that it hides stays, and he who takes it back takes back nothing. */
  readonly scope: Scope;
}

/**
 * @returns false if there is no such device, or no such former one
 * @throws DatabaseError `database.conflict` if the former one is not older, or was another device before, or if it was said
 *   already and the scope hides of which
 */
export async function setFormer(
  database: Database,
  path: string,
  { former, by, scope }: Noting,
  nowMs: number,
): Promise<boolean> {
  try {
    return await inTransaction(database, async (statements) => {
      const find = async (name: string): Promise<Place | undefined> =>
        (await statements.all<Place>(formerSql.device, [name]))[0];
      const device = await find(path);
      const older = former === undefined ? undefined : await find(former);
      if (device === undefined || (former !== undefined && older === undefined)) return false;
      // Which also keeps the chain of names from closing into a ring.
      if (older !== undefined && older.first_seen_ms >= device.first_seen_ms)
        throw new DatabaseError('database.conflict', `${former} was not heard of before ${path}`);
      const [hidden] = await statements.all<object>(formerSql.noted, [device.id, ...scopeBounds(scope)]);
      if (hidden !== undefined && older === undefined) return true;
      if (hidden !== undefined)
        throw new DatabaseError('database.conflict', `somebody said already what ${path} was before`);
      await statements.run('delete from device_former where device_id = ?', [device.id]);
      await statements.insertMany(
        'device_former',
        ['device_id', 'former_id', 'noted_ms', 'noted_by'],
        older === undefined ? [] : [[device.id, older.id, nowMs, by]],
      );
      await noteChangeBy(statements, database.engine, 'metadata');
      return true;
    });
  } catch (cause) {
    if (!isConflict(cause)) throw cause;
    throw new DatabaseError('database.conflict', `${former ?? ''} is another device by now`, { cause });
  }
}
