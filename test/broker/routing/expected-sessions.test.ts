import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { openSite } from '../fixture.ts';

const site = openSite();
after(() => site.remove());

const backend = {
  identity: 'vendor-snapshot-service',
  clientId: 'backend',
  subscriptions: ['+/+/+/snapshots'],
};

test('expectedSessions: what arrives before the client has ever connected waits for it, over a restart too', async () => {
  const first = await site.start({ expectedSessions: [backend] });
  const device = await site.connect(first.broker, 'ms-acc-1/acc-1/dev-1');
  await device.publishAsync('ms-acc-1/acc-1/dev-1/snapshots', 'one', { qos: 1 });
  await device.endAsync();
  await site.stop(first.broker);
  const { broker } = await site.start({ expectedSessions: [backend] });
  const client = await site.connect(broker, backend.identity, { clientId: 'backend', clean: false });
  assert.deepEqual(await site.received(client).count(1), ['ms-acc-1/acc-1/dev-1/snapshots=one']);
});

test('expectedSessions: one that its identity may not have is a fault of the configuration', async () => {
  await assert.rejects(
    site.start({ expectedSessions: [{ ...backend, subscriptions: ['+/+/+/commands'] }] }),
    {
      code: 'broker.expected_session',
      message: /vendor-snapshot-service may not subscribe \+\/\+\/\+\/commands/,
    },
  );
});
