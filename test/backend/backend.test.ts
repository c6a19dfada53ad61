import assert from 'node:assert/strict';
import test from 'node:test';
import type { TestContext } from 'node:test';
import { createOpener } from '../../cms/open.ts';
import { originatorsOf } from '../../cms/originator.ts';
import { connectDatabase } from '../../database/connect.ts';
import { countSnapshots } from '../../database/totals.ts';
import { decodeCommand, encodeCommandResult } from '../../domain/command.ts';
import type { ReceivedMessage } from '../../mqtt/inbox.ts';
import { freshUrl, testBoth } from '../database/engines.ts';
import { RecordedLog } from '../runtime/recorded-log.ts';
import type { LogRecord } from '../runtime/recorded-log.ts';
import { addUsers, Page } from './page.ts';
import { commandService, snapshotService, Vendor } from './vendor.ts';

const name = 'ms-acc-1/acc-1/dev-1';

async function vendorWithBroker(context: TestContext): Promise<Vendor> {
  const vendor = new Vendor(context);
  await vendor.issue(snapshotService);
  await vendor.issue(commandService);
  await vendor.startBroker();
  return vendor;
}

/** Envelopes that the log says are committed. */
function committed(records: readonly LogRecord[]): number {
  return records
    .filter(({ event }) => event === 'batch.committed')
    .reduce((sum, record) => sum + Number(record['envelopes']), 0);
}

testBoth(
  'startBackend: what a device publishes is in the database once, whoever is restarted',
  async (context, engine) => {
    const url = await freshUrl(context, engine);
    const vendor = await vendorWithBroker(context);
    const device = await vendor.device(name);
    const link = vendor.link(name);
    const publish = (from: number, to: number): Promise<unknown> =>
      Promise.all(
        Array.from({ length: to - from + 1 }, (_, index) => {
          const { topic, envelope } = device.snapshot(from + index);
          return link.publish(topic, envelope, { qos: 1 });
        }),
      );
    const first = new RecordedLog();
    const backend = await vendor.startBackend(first.log, { database: url, observe: '127.0.0.1:0' });
    await first.until((records) => {
      const connected = records.filter(({ event }) => event === 'link.connected');
      return new Set(connected.map(({ service }) => service)).size === 2;
    });
    await link.publish(`${name}/status`, JSON.stringify({ state: 'online', agentVersion: '1.2.3' }), {
      qos: 1,
      retain: true,
    });
    await link.publish(`${name}/certificates`, device.certificates, { qos: 1, retain: true });
    await publish(1, 30);
    await first.until((records) => committed(records) >= 30);
    assert.deepEqual(backend.state(), {
      connected: true,
      database: 'available',
      stored: 30,
      redelivered: 0,
      rejected: {},
      queue: 0,
    });
    const health = await fetch(`http://127.0.0.1:${backend.observePort}/healthz`);
    assert.equal(health.status, 200);
    const metrics = await (await fetch(`http://127.0.0.1:${backend.observePort}/metrics`)).text();
    assert.match(metrics, /^plombe_backend_stored_total 30$/m);
    await backend.stop();

    await publish(31, 50); // nobody is there: the broker keeps them for the session
    const second = new RecordedLog();
    const again = await vendor.startBackend(second.log, { database: url });
    await second.until((records) => committed(records) >= 20);
    assert.equal(again.state().stored, 20);
    assert.deepEqual(again.state().rejected, {});
    await again.stop();

    const database = await connectDatabase(url);
    context.after(() => database.close());
    assert.deepEqual(await countSnapshots(database, ''), { stored: 50, duplicated: 0 });
    const row = await database.kysely.selectFrom('device').selectAll().executeTakeFirstOrThrow();
    assert.deepEqual([row.connection, row.agent_version, row.last_sequence], ['online', '1.2.3', 50]);
    assert.deepEqual(await database.kysely.selectFrom('gap').selectAll().execute(), []);
    assert.deepEqual(await database.kysely.selectFrom('alarm').selectAll().execute(), []);
  },
);

test('CommandService: a ping goes to its device alone, and its answer comes back', async (context) => {
  const vendor = await vendorWithBroker(context);
  const device = await vendor.device(name);
  const neighbour = await vendor.device('ms-acc-1/acc-1/dev-2');
  const recorded = new RecordedLog();
  const url = `sqlite:${vendor.folder}/commands.db`;
  const backend = await vendor.startBackend(recorded.log, { database: url });
  const database = await connectDatabase(url);
  context.after(() => database.close());
  await addUsers(database, [{ name: 'otto', role: 'operator', scope: '' }]);
  const page = new Page(backend.port);
  await page.login('otto');

  const arrived = Promise.withResolvers<ReceivedMessage>();
  const link = vendor.link(name, [{ filter: `${name}/commands`, qos: 1 }], (message, acknowledge) => {
    acknowledge();
    arrived.resolve(message);
  });
  await link.publish(`${name}/certificates`, device.certificates, { qos: 1, retain: true });
  await recorded.until((records) => records.some(({ event }) => event === 'certificates.taken'));
  assert.equal((await page.post('/api/commands', { path: neighbour.path, name: 'ping' })).status, 404);
  // A device is known by its certificates before its first snapshot.
  const answer = await page.post('/api/commands', { path: name, name: 'ping' });
  assert.equal(answer.status, 202, JSON.stringify(answer.body));

  const { topic, payload } = await arrived.promise;
  const issuer = vendor.identity(commandService);
  const originators = originatorsOf([
    {
      commonName: commandService,
      signature: issuer.signature.certificate,
      keyAgreement: issuer.keyAgreement.certificate,
    },
  ]);
  const opened = createOpener({ recipient: device.identity.keyAgreement, originators }).open(payload, {
    expectedTopic: topic,
  });
  const command = decodeCommand(opened.content);
  assert.deepEqual(answer.body, { id: command.id });
  assert.equal(command.name, 'ping');
  assert.equal(opened.contentType, 'command+cbor');
  assert.throws(
    () => createOpener({ recipient: neighbour.identity.keyAgreement, originators }).open(payload),
    { code: 'cms.not_a_recipient' },
  );

  const resultTopic = `${name}/commands/result`;
  const result = device.seal(
    encodeCommandResult({ id: command.id, outcome: 'done', finishedAtMs: Date.now(), detail: 'pong' }),
    { sequence: 1, topic: resultTopic, contentType: 'command+cbor' },
  );
  await link.publish(resultTopic, result.envelope, { qos: 1 });
  const snapshot = device.snapshot(2);
  await link.publish(snapshot.topic, snapshot.envelope, { qos: 1 });
  await recorded.until((records) => committed(records) >= 2);
  const { body } = await page.get(`/api/commands?path=${name}`);
  assert.ok(Array.isArray(body));
  assert.deepEqual(
    body.map((row: Record<string, unknown>) => [row['id'], row['state'], row['detail'], row['issuedBy']]),
    [[command.id, 'done', 'pong', 'otto']],
  );
  assert.deepEqual((await page.get(`/api/device?path=${name}`)).status, 200);
  assert.deepEqual(
    await database.kysely.selectFrom('gap').selectAll().execute(),
    [],
    'a result takes a sequence',
  );
});

test('startBackend: what is wrong with the configuration is one clear line', async (context) => {
  const vendor = await vendorWithBroker(context);
  const { log } = new RecordedLog();
  await assert.rejects(() => vendor.startBackend(log, { identity: `${vendor.folder}/no-such` }), {
    code: 'pki.missing_file',
  });
  const busy = await vendor.startBackend(log);
  await assert.rejects(
    () =>
      vendor.startBackend(log, {
        http: { listen: `127.0.0.1:${busy.port}` },
        database: `sqlite:${vendor.folder}/other.db`,
      }),
    { code: 'EADDRINUSE' },
  );
  await assert.rejects(
    () => vendor.startBackend(log, { database: `sqlite:${vendor.folder}/plombe.db/no-folder.db` }),
    {
      code: 'database.unavailable',
    },
  );
  assert.throws(() => vendor.backendConfig({ database: 'postgres://x/y' }), /wanted sqlite:FILE or mysql/);
});
