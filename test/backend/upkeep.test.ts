import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { retentionType } from '../../backend/retention-type.ts';
import { startUpkeep } from '../../backend/upkeep-thread.ts';
import { createIngest } from '../../database/ingest.ts';
import { snapshotsPerSealing } from '../../database/chunks/seal.ts';
import { keepEverything } from '../../database/upkeep.ts';
import { createLog } from '../../runtime/log.ts';
import { arrival } from '../database/arrivals.ts';
import { freshDatabase, testBoth, urlOf } from '../database/engines.ts';

testBoth('startUpkeep: makes large runs of small ones beside who stores', async (context, engine) => {
  const database = await freshDatabase(context, engine);
  const count = 17 * snapshotsPerSealing;
  const store = (from: number, to: number) =>
    createIngest(database).storeBatch(
      Array.from({ length: to - from }, (_, index) => arrival('ms-acc-1/acc-1/dev-1', from + index)),
    );
  await store(1, count);
  const runs = async (): Promise<number> =>
    (await database.kysely.selectFrom('chunk_time').select('sealing').execute()).length;
  const before = await runs();
  const warnings: string[] = [];
  const log = createLog('test', 'warn', { write: (line) => warnings.push(line) });
  const stop = startUpkeep({ url: urlOf(database), policies: keepEverything }, log);
  await store(count, count + 100);
  while ((await runs()) >= before - 4) await sleep(20);
  await stop();
  assert.deepEqual(warnings, []);
});

test('retentionType: everything is kept unless given, and contradictions are named', () => {
  assert.deepEqual(z.object({ retention: retentionType }).parse({}).retention, keepEverything);
  const policy = { thinned: { afterDays: 90, perDay: 24 }, droppedAfterDays: 3650 };
  assert.deepEqual(retentionType.parse({ otherwise: policy, byType: { FM: {} } }), {
    otherwise: policy,
    byType: { FM: {} },
  });
  const wrong = retentionType.safeParse({ otherwise: { ...policy, droppedAfterDays: 90 } });
  assert.match(String(wrong.error), /dropped before it is thinned/);
  for (const bad of [{ thinned: { afterDays: 0, perDay: 1 } }, { droppedAfterDays: 0.5 }, { kept: 1 }])
    assert.equal(retentionType.safeParse({ otherwise: bad }).success, false);
});
