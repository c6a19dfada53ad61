/** A backend with devices that report, and a real Chromium that looks at it; for tests. */
import type { TestContext } from 'node:test';
import type { Page } from 'playwright-core';
import { startApi } from '../../backend/api/server.ts';
import { Feed } from '../../backend/feed.ts';
import { hashPassword } from '../../web/password.ts';
import { loadRules } from '../../bpm/rules.ts';
import { saveRules } from '../../database/processes.ts';
import { addUser } from '../../database/users.ts';
import type { Reading } from '../../domain/snapshot.ts';
import { createLog } from '../../runtime/log.ts';
import type { Plant } from '../bpm/plant.ts';
import { createPlant } from '../bpm/plant.ts';
import { launch, logIn, openPageAt } from './browser.ts';

export const password = 'a long enough password';

export interface Stage {
  readonly plant: Plant;
  readonly feed: Feed;
  readonly url: string;
  /** Stores a snapshot and tells the pages, as the backend's subscriber does. */
  report(device: string, readings: readonly Reading[]): Promise<void>;
  /** A page in a browser profile of its own; what it complained about is in `complaints`. */
  openPage(options?: { dark?: boolean }): Promise<{ readonly page: Page; readonly complaints: string[] }>;
  /** The same, logged in as `user`. */
  openAs(user: string): Promise<{ readonly page: Page; readonly complaints: string[] }>;
}

export async function createStage(context: TestContext): Promise<Stage> {
  const plant = await createPlant(context, 'sqlite');
  const { database } = plant;
  const book = loadRules('bpm/rules');
  await saveRules(database, new Map([...book.byType].map(([type, rules]) => [type, JSON.stringify(rules)])));
  const passwordHash = await hashPassword(password);
  for (const [name, role, scope] of [
    ['operator', 'operator', ''],
    ['viewer', 'viewer', 'm-1'],
  ] as const) {
    await addUser(database, { name, role, scope, passwordHash }, plant.nowMs);
  }
  const feed = new Feed();
  const log = createLog('test', 'silent');
  const server = await startApi({ host: '127.0.0.1', port: 0 }, undefined, {
    database,
    clock: Date.now,
    log,
    feed,
    commands: undefined,
  });
  context.after(() => server.close());
  const browser = await launch();
  context.after(() => browser.close());
  const url = `http://127.0.0.1:${server.port}`;
  const openPage: Stage['openPage'] = (options) => openPageAt(browser, url, options);
  return {
    plant,
    feed,
    url,
    openPage,
    report: async (device, readings) => {
      await plant.reportReadings(device, 'FM', readings);
      const row = await database.kysely
        .selectFrom('device')
        .select(['last_sequence', 'stored', 'last_snapshot_ms'])
        .where('path', '=', device)
        .executeTakeFirstOrThrow();
      feed.stored([
        { path: device, sequence: row.last_sequence, stored: row.stored, timeMs: row.last_snapshot_ms ?? 0 },
      ]);
    },
    openAs: async (user) => {
      const opened = await openPage();
      await logIn(opened.page, user, password);
      await opened.page.getByRole('heading', { name: 'Fleet' }).waitFor();
      return opened;
    },
  };
}
