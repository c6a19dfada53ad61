import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { connectDatabase } from '../../database/connect.ts';
import type { Database } from '../../database/connect.ts';
import { createIngest } from '../../database/ingest.ts';
import { migrate } from '../../database/migrate.ts';
import { processTables } from '../../database/processes.ts';
import { completeTask, listNotifications, listTasks, listWorkflows } from '../../database/processes-lists.ts';
import { arrival } from '../database/arrivals.ts';
import { startMailServer } from './mail-server.ts';

const devices = 30;
const kills = 6;
const listedMax = 1000;

function start(context: TestContext, configFile: string): ChildProcess {
  const program = `import { runBpm } from './bpm/main.ts'; await runBpm(${JSON.stringify(configFile)});`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], { stdio: 'ignore' });
  context.after(() => child.kill('SIGKILL'));
  return child;
}

/** Resolves when `isSo` holds; it looks as often as the event loop lets it. */
async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise(setImmediate);
}

async function openSetting(
  context: TestContext,
): Promise<{ database: Database; configFile: string; folder: string }> {
  const folder = mkdtempSync(path.join(tmpdir(), 'plombe-bpm-'));
  const database = await connectDatabase(`sqlite:${folder}/plombe.db`);
  context.after(async () => {
    await database.close();
    rmSync(folder, { recursive: true, force: true });
  });
  await migrate(database);
  return { database, configFile: path.join(folder, 'bpm.yaml'), folder };
}

void test('bpm, killed again and again: every change has one workflow, one task, one mail', async (context) => {
  const { database, configFile, folder } = await openSetting(context);
  const mailServer = await startMailServer(context);
  writeFileSync(
    configFile,
    [
      `database: sqlite:${folder}/plombe.db`,
      'pollIntervalMs: 50',
      'log: { level: silent }',
      'mail:',
      `  smtp: ${mailServer.url}`,
      '  from: plombe@example.org',
      '  to: [list@example.org]',
      'technician: { mail: tech@example.org }',
    ].join('\n'),
  );
  const ingest = createIngest(database);
  // Each device: normal, then overdue. One mail for the first; a task, and after it a mail, for the second.
  const report = async (sequence: number, hours: number): Promise<void> => {
    await ingest.storeBatch(
      Array.from({ length: devices }, (_, index) =>
        arrival(`m-1/a-1/d-${index}`, sequence, [
          { channel: 'service.hours-since', value: hours },
          { channel: 'service.interval', value: 500 },
        ]),
      ),
    );
  };
  for (let sequence = 1; sequence <= 3; sequence++) await report(sequence, sequence === 1 ? 10 : 600);

  let child = start(context, configFile);
  for (let kill = 1; kill <= kills; kill++) {
    // Killed at another point of the work each time: after the so-and-so-many-th mail of all.
    await until(() => Promise.resolve(mailServer.mails.length >= kill * 5));
    child.kill('SIGKILL');
    await once(child, 'exit');
    await releaseLeases(database);
    child = start(context, configFile);
    for (const task of await listTasks(database, '', listedMax)) {
      if (task.state !== 'open') continue;
      await completeTask(database, { id: task.id, by: 'eva', comment: 'on Monday', scope: '' }, Date.now());
    }
  }
  await until(async () => {
    for (const task of await listTasks(database, '', listedMax)) {
      if (task.state !== 'open') continue;
      await completeTask(database, { id: task.id, by: 'eva', comment: 'on Monday', scope: '' }, Date.now());
    }
    const workflows = await listWorkflows(database, '', {}, listedMax);
    const notifications = await listNotifications(database, '', listedMax);
    return (
      workflows.length === 2 * devices &&
      workflows.every(({ state }) => state === 'completed') &&
      notifications.length === 2 * devices &&
      notifications.every(({ state }) => state === 'sent')
    );
  });
  child.kill('SIGTERM');
  const [code] = await once(child, 'exit');
  assert.equal(code, 0);

  assert.equal((await listTasks(database, '', listedMax)).length, devices);
  const ids = mailServer.mails.map((mail) => /^Message-ID: <([^@]+)@example.org>/im.exec(mail)?.[1]);
  const notifications = await listNotifications(database, '', listedMax);
  assert.deepEqual(new Set(ids), new Set(notifications.map(({ id }) => id)), 'each mail came');
  // SMTP cannot promise more than at-least-once: a mail that was under way at a kill may come again, by the same id.
  assert.ok(ids.length - new Set(ids).size <= kills, `${ids.length - new Set(ids).size} mails came again`);
});

/** What waiting for the lease's three minutes would do. */
async function releaseLeases(database: Database): Promise<void> {
  await processTables(database)
    .updateTable('notification')
    .set({ due_ms: 0 })
    .where('state', '=', 'sending')
    .execute();
}
