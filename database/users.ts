/** The people who may look at the dashboard, and their sessions. */
import type { Transaction } from 'kysely';
import type { Database } from './connect.ts';
import { DatabaseError, isConflict } from './errors.ts';
import type { Role, Schema } from './schema.ts';
import type { Scope } from './scope.ts';

export interface User {
  readonly id: number;
  readonly name: string;
  readonly role: Role;
  readonly scope: Scope;
}

export interface UserWithPassword extends User {
  /** Opaque here; see web/password.ts. */
  readonly passwordHash: string;
}

/** @throws DatabaseError `database.conflict` if the name is taken */
export async function addUser(
  database: Database,
  user: Omit<UserWithPassword, 'id'>,
  nowMs: number,
): Promise<void> {
  try {
    await database.kysely
      .insertInto('user')
      .values({
        name: user.name,
        password_hash: user.passwordHash,
        role: user.role,
        scope: user.scope,
        created_ms: nowMs,
      })
      .execute();
  } catch (cause) {
    if (!isConflict(cause)) throw cause;
    throw new DatabaseError('database.conflict', `there is a user "${user.name}" already`, { cause });
  }
}

export async function readUsers(database: Database): Promise<User[]> {
  return database.kysely.selectFrom('user').select(['id', 'name', 'role', 'scope']).orderBy('name').execute();
}

export async function findUser(database: Database, name: string): Promise<UserWithPassword | undefined> {
  return database.kysely
    .selectFrom('user')
    .select(['id', 'name', 'role', 'scope', 'password_hash as passwordHash'])
    .where('name', '=', name)
    .executeTakeFirst();
}

/** Also ends every session of the user. @returns whether there was such a user */
export async function setPassword(database: Database, name: string, passwordHash: string): Promise<boolean> {
  return endingSessions(database, name, async (transaction, id) => {
    await transaction.updateTable('user').set({ password_hash: passwordHash }).where('id', '=', id).execute();
  });
}

/** Also ends every session of the user. @returns whether there was such a user */
export async function removeUser(database: Database, name: string): Promise<boolean> {
  return endingSessions(database, name, async (transaction, id) => {
    await transaction.deleteFrom('user').where('id', '=', id).execute();
  });
}

/** @param tokenHash - never the token: who reads the database must not be able to log in with it */
export async function openSession(
  database: Database,
  tokenHash: Uint8Array,
  userId: number,
  nowMs: number,
  expiresMs: number,
): Promise<void> {
  await database.kysely.deleteFrom('user_session').where('expires_ms', '<=', nowMs).execute();
  await database.kysely
    .insertInto('user_session')
    .values({ token_hash: tokenHash, user_id: userId, created_ms: nowMs, expires_ms: expiresMs })
    .execute();
}

/** @returns whose session it is, unless it has expired or was ended */
export async function findSession(
  database: Database,
  tokenHash: Uint8Array,
  nowMs: number,
): Promise<User | undefined> {
  return database.kysely
    .selectFrom('user_session')
    .innerJoin('user', 'user.id', 'user_session.user_id')
    .select(['user.id', 'user.name', 'user.role', 'user.scope'])
    .where('token_hash', '=', tokenHash)
    .where('expires_ms', '>', nowMs)
    .executeTakeFirst();
}

export async function endSession(database: Database, tokenHash: Uint8Array): Promise<void> {
  await database.kysely.deleteFrom('user_session').where('token_hash', '=', tokenHash).execute();
}

async function endingSessions(
  database: Database,
  name: string,
  change: (transaction: Transaction<Schema>, id: number) => Promise<void>,
): Promise<boolean> {
  return database.transaction(async (transaction) => {
    const user = await transaction
      .selectFrom('user')
      .select('id')
      .where('name', '=', name)
      .executeTakeFirst();
    if (user === undefined) return false;
    await transaction.deleteFrom('user_session').where('user_id', '=', user.id).execute();
    await change(transaction, user.id);
    return true;
  });
}
