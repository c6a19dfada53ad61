/** The people of the demo: one at the vendor, one at each customer, each with a password made for this run. */
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { hashPassword } from '../../web/password.ts';
import { connectDatabase } from '../../database/connect.ts';
import { migrate } from '../../database/migrate.ts';
import { addUser, removeUser } from '../../database/users.ts';
import type { DemoPlan } from './topology.ts';

export interface Credentials {
  readonly user: string;
  readonly password: string;
}

export interface DemoUsers {
  readonly operator: Credentials;
  readonly viewers: readonly Credentials[];
}

/** The plan's URL is relative to the vendor's folder, as in its configuration file. */
export function demoDatabaseUrl({ directory, vendor }: DemoPlan): string {
  return `sqlite:${path.resolve(directory, 'vendor', vendor.database.slice('sqlite:'.length))}`;
}

/** In a kept folder the users of the last run get new passwords. */
export async function makeUsers(plan: DemoPlan): Promise<DemoUsers> {
  const database = await connectDatabase(demoDatabaseUrl(plan));
  try {
    await migrate(database);
    const add = async (name: string, role: 'operator' | 'viewer', scope: string): Promise<Credentials> => {
      const password = randomBytes(9).toString('base64url');
      await removeUser(database, name);
      await addUser(database, { name, role, scope, passwordHash: await hashPassword(password) }, Date.now());
      return { user: name, password };
    };
    const viewers: Credentials[] = [];
    for (const { masterAccount } of plan.customers)
      viewers.push(await add(masterAccount, 'viewer', masterAccount));
    return { operator: await add('operator', 'operator', ''), viewers };
  } finally {
    await database.close();
  }
}
