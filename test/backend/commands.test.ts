import assert from 'node:assert/strict';
import test from 'node:test';
import type { TestContext } from 'node:test';
import { CommandService } from '../../backend/commands.ts';
import { Feed } from '../../backend/feed.ts';
import { createMeasures } from '../../backend/measures.ts';
import { inspect } from '../../cms/inspect.ts';
import { OriginatorDirectory } from '../../cms/originator-directory.ts';
import { connectDatabase } from '../../database/connect.ts';
import { migrate } from '../../database/migrate.ts';
import { decodeDeviceCertificates } from '../../domain/device-certificates.ts';
import { loadTrustedIdentity } from '../../pki/trusted-file.ts';
import { createMetrics } from '../../runtime/observe.ts';
import { bundleOf, freshLists } from '../pki/lists.ts';
import { RecordedLog } from '../runtime/recorded-log.ts';
import { commandService, Vendor } from './vendor.ts';

const name = 'ms-acc-1/acc-1/dev-1';
const auditor = 'ms-acc-1';

/** The command service without a broker: what it publishes is kept. */
async function desk(context: TestContext) {
  const vendor = new Vendor(context);
  for (const one of [commandService, auditor]) await vendor.issue(one);
  const device = await deviceWithoutService(vendor);
  const identity = vendor.identity(commandService);
  const database = await connectDatabase('sqlite::memory:');
  context.after(() => database.close());
  await migrate(database);
  const directory = new OriginatorDirectory(identity.roots);
  directory.publish(name, device, Date.now());
  const { lists } = freshLists(context, identity.roots);
  const recorded = new RecordedLog();
  const measures = createMeasures(createMetrics());
  const published: Uint8Array[] = [];
  const service = new CommandService({
    identity,
    newestOf: (path) => Promise.resolve(directory.newestOf(path)),
    lists,
    database,
    link: { publish: (_topic, payload) => Promise.resolve(void published.push(payload)) },
    readers: [
      loadTrustedIdentity(`${vendor.folder}/identities/${auditor}/enc.chain.pem`, {
        roots: identity.roots,
        atMs: Date.now(),
        purpose: 'key-agreement',
      }),
    ],
    expirySeconds: 60,
    measures,
    feed: new Feed(),
    clock: Date.now,
    log: recorded.log,
  });
  const revoke = async (target: string): Promise<void> => {
    await vendor.authority.revoke({ target: { path: target }, kinds: ['enc'] });
    lists.take(bundleOf(vendor.authority));
  };
  return { service, revoke, published, recorded, measures, path: device.path };
}

async function deviceWithoutService(vendor: Vendor) {
  await vendor.issue('vendor-snapshot-service');
  const device = await vendor.device(name);
  return { ...decodeDeviceCertificates(device.certificates), path: device.path };
}

const readersIn = (envelope: Uint8Array | undefined): number =>
  inspect(envelope ?? new Uint8Array()).agreements.flatMap(({ recipients }) => recipients).length;

test('CommandService: nothing is sealed for a device that is revoked', async (context) => {
  const { service, revoke, published, path } = await desk(context);
  await service.send(path, 'ping', 'otto');
  assert.equal(readersIn(published[0]), 2);
  await revoke(name);
  await assert.rejects(() => service.send(path, 'ping', 'otto'), { code: 'command.revoked_device' });
  assert.equal(published.length, 1);
});

test('CommandService: an auditor that is revoked reads no commands any more, and that is said', async (context) => {
  const { service, revoke, published, recorded, measures, path } = await desk(context);
  await revoke(auditor);
  await service.send(path, 'ping', 'otto');
  assert.equal(readersIn(published[0]), 1);
  assert.equal(recorded.records.find(({ event }) => event === 'recipient.left_out')?.['recipient'], auditor);
  assert.deepEqual(measures.tally.rejected, { 'pki.revoked': 1 });
});
