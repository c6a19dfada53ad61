import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'node:test';
import type { TestContext } from 'node:test';
import type { BackendSession } from '../../backend/subscriptions.ts';
import { restSession, sealedTopic, snapshotSession } from '../../backend/subscriptions.ts';
import { parseNamespacePath } from '../../domain/namespace.ts';
import { connectDatabase } from '../../database/connect.ts';
import { migrate } from '../../database/migrate.ts';
import { countSnapshots } from '../../database/totals.ts';
import { leashed } from '../../scripts/leash.ts';
import { freshUrl } from '../database/engines.ts';
import { commandService, snapshotService, Vendor } from './vendor.ts';

const program = path.join(import.meta.dirname, 'backend-process.ts');
const devicesMax = 6;
const rounds = 40;
const pollMs = 50;

interface Line {
  readonly event: string;
  readonly device?: string;
  readonly envelopes?: number;
}

interface Instance {
  /** Resolves when it knows the certificates of so many devices. */
  knowing(devices: number): Promise<void>;
  /** Envelopes. */
  readonly committed: () => number;
  committedMoreThan(envelopes: number): Promise<void>;
  kill(): Promise<void>;
}

function startInstance(context: TestContext, vendor: Vendor, url: string, instance: string): Instance {
  const share = { group: 'g', instance, takeoverSeconds: 1 };
  const data = path.join(vendor.folder, `data-${instance}`);
  const config = vendor.backendConfig({ database: url, data, share, ingest: { threads: 1 } });
  const command = leashed([process.execPath, program, JSON.stringify(config)]);
  const child = spawn(...command, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  const known = new Set<string>();
  let committed = 0;
  let wake = Promise.withResolvers<void>();
  const self: Instance = {
    knowing: async (devices) => {
      while (known.size < devices) await wake.promise;
    },
    committed: () => committed,
    committedMoreThan: async (envelopes) => {
      while (self.committed() <= envelopes) await wake.promise;
    },
    kill: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
  createInterface(child.stdout).on('line', (text) => {
    const { event, device = '', envelopes } = JSON.parse(text) as Line;
    if (event === 'certificates.known') known.add(device);
    if (event === 'batch.committed') committed += envelopes ?? 0;
    wake.resolve();
    wake = Promise.withResolvers();
  });
  context.after(() => self.kill());
  return self;
}

test('snapshotSession: each instance has a session that ends, and all have one that does not', () => {
  const share = { group: 'g', instance: 'a', takeoverSeconds: 30 };
  const { clientId, subscriptions, expirySeconds } = snapshotSession(snapshotService, share);
  assert.deepEqual([clientId, expirySeconds], [`backend-of-${snapshotService}-a`, 30]);
  assert.ok(subscriptions.some(({ filter }) => filter === '$share/by-topic-g/+/+/+/snapshots'));
  assert.ok(!subscriptions.some(({ filter }) => filter === '+/+/+/snapshots'));
  const rest = restSession('snapshots', snapshotService, share);
  assert.deepEqual(rest.subscriptions, [{ filter: '$share/by-topic-g/+/+/+/snapshots', qos: 1 }]);
  assert.equal(rest.expirySeconds, undefined);
  assert.equal(snapshotSession(snapshotService, undefined).expirySeconds, undefined);
});

test('snapshotSession: whoever is shared with subscribes to its group of its owners, and to nothing else', () => {
  const [owner, account] = ['ms-acc-1', 'ms-acc-2/acc-1'].map((text) => parseNamespacePath(text));
  assert.ok(owner && account);
  const reads = { group: 'insurer', of: [owner, account], released: false };
  const filtersOf = (session: BackendSession) => session.subscriptions.map(({ filter }) => filter);
  assert.deepEqual(filtersOf(snapshotSession('ms-acc-1/insurer', undefined, reads)), [
    'vendor/crl/e2e',
    'vendor/crl/tls',
    'ms-acc-1/+/+/certificates',
    'ms-acc-2/acc-1/+/certificates',
    'ms-acc-1/+/+/shared/insurer/snapshots',
    'ms-acc-2/acc-1/+/shared/insurer/snapshots',
  ]);
  const share = { group: 'g', instance: 'a', takeoverSeconds: 30 };
  const released = { ...reads, of: [owner], released: true };
  assert.deepEqual(filtersOf(restSession('snapshots', 'ms-acc-1/insurer', share, released)), [
    '$share/by-topic-g/ms-acc-1/$released/+/+/shared/insurer/snapshots',
  ]);
  const topic = 'ms-acc-1/acc-1/dev-1/shared/insurer/snapshots';
  assert.equal(sealedTopic('ms-acc-1/$released/acc-1/dev-1/shared/insurer/snapshots', released), topic);
  assert.equal(sealedTopic(topic, reads), topic);
});

test('startBackend: two share the work in order, and when one is killed the other has everything, once', async (context) => {
  const url = await freshUrl(context, 'mysql');
  const database = await connectDatabase(url);
  context.after(() => database.close());
  await migrate(database);
  const vendor = new Vendor(context);
  for (const service of [snapshotService, commandService]) await vendor.issue(service);
  await vendor.startBroker();
  const names = Array.from({ length: devicesMax }, (_, index) => `ms-acc-1/acc-1/dev-${index + 1}`);
  const devices = await Promise.all(names.map((name) => vendor.device(name)));
  const links = names.map((name) => vendor.link(name));
  const [a, b] = [startInstance(context, vendor, url, 'a'), startInstance(context, vendor, url, 'b')];
  const publish = (index: number, topic: string, payload: Uint8Array, retain = false): Promise<void> =>
    links[index]?.publish(topic, payload, { qos: 1, retain }) ?? Promise.reject(new Error('no link'));
  for (const [index, device] of devices.entries())
    await publish(index, `${device.path}/certificates`, device.certificates, true);
  // Then each has subscribed; which of them was the first to verify them does not matter.
  await Promise.all([a, b].map((one) => one.knowing(devicesMax)));
  const publishRounds = async (from: number, to: number): Promise<void> => {
    for (let sequence = from; sequence <= to; sequence++) {
      await Promise.all(
        devices.map((device, index) => {
          const { topic, envelope } = device.snapshot(sequence);
          return publish(index, topic, envelope);
        }),
      );
    }
  };
  const stored = async (count: number): Promise<void> => {
    while ((await countSnapshots(database, '')).stored < count) await sleep(pollMs);
  };

  await publishRounds(1, rounds);
  await stored(rounds * devicesMax);
  await Promise.all([a, b].map((one) => one.committedMoreThan(0))); // both work
  // Each device has its messages in order, from one of them: no gap was ever opened.
  assert.deepEqual(await database.kysely.selectFrom('gap').selectAll().execute(), []);

  const before = a.committed();
  const more = publishRounds(rounds + 1, 3 * rounds);
  await a.committedMoreThan(before);
  await a.kill();
  await more;
  await stored(3 * rounds * devicesMax);
  assert.deepEqual(await countSnapshots(database, ''), {
    stored: 3 * rounds * devicesMax,
    duplicated: 0,
  });
  // What the killed one had was late: its gaps are closed again.
  const open = await database.kysely.selectFrom('gap').selectAll().where('closed_ms', 'is', null).execute();
  assert.deepEqual(open, []);
});
