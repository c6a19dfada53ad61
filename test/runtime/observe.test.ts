import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMetrics, startObservation } from '../../runtime/observe.ts';

test('startObservation: metrics, health and state; nothing else', async (context) => {
  const metrics = createMetrics();
  metrics.counter('plombe_test_rejected_total', 'Rejected.', ['reason']).inc({ reason: 'malformed' }, 3);
  let healthy = true;
  const server = await startObservation(
    { host: '127.0.0.1', port: 0 },
    {
      metrics,
      health: () => (healthy ? { healthy } : { healthy, reason: 'the disk is full' }),
      state: () => ({ stored: 7 }),
    },
  );
  context.after(() => server.close());
  const get = (path: string, method = 'GET'): Promise<Response> =>
    fetch(`http://127.0.0.1:${server.port}${path}`, { method });
  assert.match(await (await get('/metrics')).text(), /plombe_test_rejected_total\{reason="malformed"\} 3/);
  assert.equal((await get('/healthz')).status, 200);
  healthy = false;
  const sick = await get('/healthz');
  assert.equal(sick.status, 503);
  assert.deepEqual(await sick.json(), { healthy: false, reason: 'the disk is full' });
  assert.deepEqual(await (await get('/state')).json(), { stored: 7 });
  assert.equal((await get('/else')).status, 404);
  assert.equal((await get('/state', 'POST')).status, 405);
});
