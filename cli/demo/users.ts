/** The people of the demo: one at the vendor, one at each customer, each with a password made for this run. */
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { openAccounts } from '../../auditor/page/accounts.ts';
import { hashPassword } from '../../web/password.ts';
import { connectDatabase } from '../../database/connect.ts';
import { migrate } from '../../database/migrate.ts';
import { addUser, removeUser } from '../../database/users.ts';
import { customerFolder } from '../deployment/plan.ts';
import type { DemoPlan } from './topology.ts';

export interface Credentials {
  readonly user: string;
  readonly password: string;
}

export interface Releaser extends Credentials {
  /** Of the auditor's page. */
  readonly url: string;
}

export interface DemoUsers {
  readonly operator: Credentials;
  readonly viewers: readonly Credentials[];
  /** Who decides what leaves, at each customer that does. */
  readonly releasers: readonly Releaser[];
}

/** The plan's URL is relative to the vendor's folder, as in its configuration file. */
export function demoDatabaseUrl({ directory, vendor }: DemoPlan): string {
  return `sqlite:${path.resolve(directory, 'vendor', vendor.database.slice('sqlite:'.length))}`;
}

/** In a kept folder the users of the last run get new passwords. */
export async function makeUsers(plan: DemoPlan): Promise<DemoUsers> {
  // Side by side: hashing a password takes a core a third of a second.
  const [people, releasers] = await Promise.all([makeVendorUsers(plan), makeReleasers(plan)]);
  return { ...people, releasers };
}

async function makeReleasers(plan: DemoPlan): Promise<Releaser[]> {
  const releasers: Releaser[] = [];
  for (const { masterAccount, auditor } of plan.customers) {
    if (auditor?.page === undefined) continue;
    const password = newPassword();
    const passwordHash = await hashPassword(password);
    const accounts = openAccounts(auditorData(plan, masterAccount));
    accounts.remove(masterAccount);
    accounts.add(masterAccount, 'releaser', passwordHash);
    accounts.close();
    releasers.push({ url: `http://${auditor.page}`, user: masterAccount, password });
  }
  return releasers;
}

/** As the configuration of the auditor says. */
export function auditorData({ directory }: DemoPlan, masterAccount: string): string {
  return path.join(directory, customerFolder(masterAccount), 'data', 'auditor');
}

function newPassword(): string {
  return randomBytes(9).toString('base64url');
}

async function makeVendorUsers(plan: DemoPlan): Promise<Omit<DemoUsers, 'releasers'>> {
  const database = await connectDatabase(demoDatabaseUrl(plan));
  try {
    await migrate(database);
    const add = async (name: string, role: 'operator' | 'viewer', scope: string): Promise<Credentials> => {
      const password = newPassword();
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
