import assert from 'node:assert/strict';
import test from 'node:test';
import { startApi } from '../../backend/api/server.ts';
import { Feed } from '../../backend/feed.ts';
import { readEvidence } from '../../database/evidence.ts';
import { bench, introduce, publish } from './ingest-bench.ts';
import { addUsers, Page } from './page.ts';
import { backendConfigType } from '../../backend/config.ts';
import { z } from 'zod';

const name = 'ms-acc-1/acc-1/dev-1';
const dayMs = 86_400_000;

test('evidence: an envelope is kept as it came for the configured time, and fetched within a scope', async (context) => {
  let nowMs = Date.now();
  const on = await bench(context, { evidenceMs: 30 * dayMs, clock: () => nowMs });
  const device = await on.vendor.device(name);
  await introduce(on, device);
  const sealed = [1, 2].map((sequence) => device.snapshot(sequence));
  for (const one of sealed) await publish(on, one);
  const api = await startApi({ host: '127.0.0.1', port: 0 }, undefined, {
    database: on.database,
    clock: () => nowMs,
    log: on.recorded.log,
    feed: new Feed(),
    commands: undefined,
  });
  context.after(() => api.close());
  await addUsers(on.database, [
    { name: 'anna', role: 'viewer', scope: 'ms-acc-1' },
    { name: 'bert', role: 'viewer', scope: 'ms-acc-2' },
  ]);
  const [anna, bert] = [new Page(api.port), new Page(api.port)] as const;
  const question = `/api/evidence?path=${name}&sequence=2`;
  assert.equal((await anna.get(question)).status, 401);
  await Promise.all([anna.login('anna'), bert.login('bert')]);
  const answer = await anna.fetch(question);
  assert.equal(
    answer.headers.get('content-disposition'),
    'attachment; filename="ms-acc-1+acc-1+dev-1-2.p7m"',
  );
  assert.ok(Buffer.from(await answer.arrayBuffer()).equals(sealed[1]?.envelope ?? Buffer.alloc(0)));
  assert.equal((await bert.get(question)).status, 404);
  assert.equal((await anna.get(`/api/evidence?path=${name}&sequence=3`)).status, 404);
  assert.equal((await anna.get(`/api/evidence?path=${name}&sequence=x`)).status, 400);

  nowMs += 29 * dayMs;
  await on.ingest.purge();
  assert.ok(await readEvidence(on.database, '', name, 1));
  nowMs += 2 * dayMs;
  await on.ingest.purge();
  assert.equal(await readEvidence(on.database, '', name, 1), undefined);
});

test('evidence: without a time to keep it nothing of it is kept', async (context) => {
  const on = await bench(context);
  const device = await on.vendor.device(name);
  await introduce(on, device);
  await publish(on, device.snapshot(1));
  assert.equal(await readEvidence(on.database, '', name, 1), undefined);
});

test('backendConfigType: the time for evidence is in hours or days', () => {
  const parsed = (evidence: string): unknown =>
    backendConfigType({ path: z.string(), existingPath: z.string() }).safeParse({
      broker: 'localhost:8883',
      brokerName: 'vendor-broker',
      identity: 'keys',
      database: 'sqlite:./plombe.db',
      http: { listen: 'localhost:8080' },
      ingest: { evidence },
    }).data?.ingest.evidence;
  assert.deepEqual(['36h', '30d', '0d', '30', 'forever'].map(parsed), [
    36 * 3_600_000,
    30 * dayMs,
    undefined,
    undefined,
    undefined,
  ]);
});
