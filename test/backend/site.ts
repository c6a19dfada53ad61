/** The API over an empty database, for tests. */
import { createHash, randomBytes } from 'node:crypto';
import type { TestContext } from 'node:test';
import { startApi } from '../../backend/api/server.ts';
import { Feed } from '../../backend/feed.ts';
import { connectDatabase } from '../../database/connect.ts';
import type { Database } from '../../database/connect.ts';
import { migrate } from '../../database/migrate.ts';
import type { Role } from '../../database/schema.ts';
import { addUser, findUser, openSession } from '../../database/users.ts';
import { RecordedLog } from '../runtime/recorded-log.ts';
import type { LogRecord } from '../runtime/recorded-log.ts';
import { Page } from './page.ts';

const sessionMs = 3_600_000;

export interface Site {
  readonly port: number;
  readonly database: Database;
  readonly feed: Feed;
  readonly time: { nowMs: number };
  readonly records: readonly LogRecord[];
}

export async function openSite(context: TestContext, publicUrl?: string): Promise<Site> {
  const database = await connectDatabase('sqlite::memory:');
  await migrate(database);
  const feed = new Feed();
  const time = { nowMs: Date.now() };
  const { log, records } = new RecordedLog();
  const api = await startApi({ host: '127.0.0.1', port: 0 }, publicUrl, {
    database,
    clock: () => time.nowMs,
    log,
    feed,
    commands: undefined,
  });
  context.after(async () => {
    await api.close();
    await database.close();
  });
  return { port: api.port, database, feed, time, records };
}

/** @returns a page of each user, logged in without the time that a password takes */
export async function pagesOf<Name extends string>(
  { database, port, time }: Site,
  users: Readonly<Record<Name, { readonly role: Role; readonly scope: string }>>,
): Promise<Record<Name, Page>> {
  const pages: [Name, Page][] = [];
  for (const name of Object.keys(users) as Name[]) {
    await addUser(database, { name, ...users[name], passwordHash: 'nobody has it' }, time.nowMs);
    const user = await findUser(database, name);
    const token = randomBytes(32).toString('base64url');
    const hash = createHash('sha256').update(token).digest();
    await openSession(database, hash, user?.id ?? 0, time.nowMs, time.nowMs + sessionMs);
    pages.push([name, new Page(port, `plombe_session=${token}`)]);
  }
  return Object.fromEntries(pages) as Record<Name, Page>;
}
