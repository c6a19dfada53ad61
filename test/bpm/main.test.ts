import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { z } from 'zod';
import { bpmConfigSchema } from '../../bpm/config.ts';
import type { BpmConfig } from '../../bpm/config.ts';
import { startBpm } from '../../bpm/main.ts';
import { connectDatabase } from '../../database/connect.ts';
import { createIngest } from '../../database/ingest.ts';
import { migrate } from '../../database/migrate.ts';
import {
  listNotifications,
  listTasks,
  readDefinitionXml,
  readDeviceTypeRules,
} from '../../database/processes-lists.ts';
import { loadConfig } from '../../runtime/config.ts';
import { createLog } from '../../runtime/log.ts';
import { arrival } from '../database/arrivals.ts';
import { processXml } from './process-xml.ts';

function configOf(context: TestContext, text: string): BpmConfig {
  const folder = mkdtempSync(path.join(tmpdir(), 'plombe-bpm-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = path.join(folder, 'bpm.yaml');
  writeFileSync(file, text.replaceAll('{folder}', folder));
  return loadConfig(file, bpmConfigSchema);
}

const log = createLog('test', 'silent');
const stateType = z.object({ backlog: z.number(), snapshots: z.number() });

void test('bpmConfigSchema: a database is enough, and the shipped files are the default', (context) => {
  const config = configOf(context, 'database: sqlite:/x.db\n');
  assert.match(config.processes, /bpm\/processes$/);
  assert.match(config.rules, /bpm\/rules$/);
  assert.equal(config.mail, undefined);
});

void test('bpmConfigSchema: names every fault', (context) => {
  assert.throws(
    () =>
      configOf(
        context,
        'database: ""\nmail: { smtp: "http://x", from: nobody, to: [] }\ntechnician: { phone: call me }\nrules: ./gone\n',
      ),
    (error: Error) => {
      for (const place of ['database', 'mail.smtp', 'mail.from', 'mail.to', 'technician.phone', 'rules']) {
        assert.ok(error.message.includes(place), `${place} in ${error.message}`);
      }
      return true;
    },
  );
});

void test('startBpm: judges what is there and, without a way out, lists what it would have sent', async (context) => {
  const config = configOf(
    context,
    'database: sqlite:{folder}/p.db\npollIntervalMs: 50\nobserve: 127.0.0.1:0\ntechnician: { phone: "+49 30 1" }\n',
  );
  const database = await connectDatabase(config.database);
  await migrate(database);
  const bpm = await startBpm(config, { log });
  try {
    const ingest = createIngest(database);
    for (let sequence = 1; sequence <= 2; sequence++) {
      await ingest.storeBatch([arrival('m-1/a-1/d-1', sequence, [{ channel: 'fault.code', value: 17 }])]);
    }
    while ((await listTasks(database, '', 1)).length === 0) await new Promise(setImmediate);
    const [message] = await listNotifications(database, '', 10);
    assert.deepEqual(
      [message?.channel, message?.state, message?.detail],
      ['sms', 'listed', 'no sms is configured'],
    );
    assert.match((await readDefinitionXml(database, 'condition', undefined)) ?? '', /<bpmn:definitions/);
    const rules = await readDeviceTypeRules(database, 'FM');
    assert.ok(
      typeof rules === 'object' && rules !== null && 'title' in rules && rules.title === 'Fuel meter',
    );
    const readState = async (): Promise<z.output<typeof stateType>> =>
      stateType.parse(await (await fetch(`http://127.0.0.1:${bpm.observePort}/state`)).json());
    while ((await readState()).snapshots < 2) await new Promise(setImmediate);
    assert.deepEqual(await readState(), { backlog: 0, snapshots: 2 });
    const health = await fetch(`http://127.0.0.1:${bpm.observePort}/healthz`);
    assert.equal(health.status, 200);
    const metrics = await (await fetch(`http://127.0.0.1:${bpm.observePort}/metrics`)).text();
    assert.match(metrics, /plombe_bpm_instances_total\{classification="abnormal"\} 1/);
  } finally {
    await bpm.stop();
    await database.close();
  }
});

void test('startBpm: a process that cannot run stops the start, naming the file and the element', async (context) => {
  const config = configOf(context, 'database: sqlite:{folder}/p.db\n');
  const processes = mkdtempSync(path.join(tmpdir(), 'plombe-processes-'));
  context.after(() => rmSync(processes, { recursive: true, force: true }));
  writeFileSync(
    path.join(processes, 'bad.bpmn'),
    processXml('<startEvent id="S" /><scriptTask id="Evil" />'),
  );
  await assert.rejects(startBpm({ ...config, processes }, { log }), {
    code: 'process.unsupported',
    message: /bad\.bpmn: element "Evil" is a ScriptTask/,
  });
});
