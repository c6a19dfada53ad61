import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { neverExpires } from '../../../broker/routing/session.ts';
import { Store } from '../../../broker/store/store.ts';
import { killBrokerProcesses, startBrokerProcess } from '../broker-process.ts';
import type { Site } from '../fixture.ts';
import { openSite } from '../fixture.ts';

let site: Site;
before(() => void (site = openSite()));
after(async () => {
  await killBrokerProcesses();
  await site.remove();
});

const topic = 'ms-acc-1/acc-1/dev-1/snapshots';
const pageBytes = 8192;
/** Of the queued messages' payloads. */
const queuedOctet = 0x6d;
/** Read when sessions have been marked as disconnected already. */
const retainedPage = 8;

function filledWith(octet: number, page: number): (file: Buffer) => Buffer {
  return (file) => Buffer.from(file).fill(octet, page * pageBytes, (page + 1) * pageBytes);
}

const damages: readonly (readonly [name: string, damage: (file: Buffer) => Buffer])[] = [
  ['half of it is gone', (file) => file.subarray(0, file.length / 2)],
  ['its last page is gone', (file) => file.subarray(0, file.length - pageBytes)],
  ['it ends within its header', (file) => file.subarray(0, 50)],
  ['it is something else', () => Buffer.from('no database '.repeat(5000))],
  ['its header is zeros', filledWith(0, 0)],
  ['its table of sessions is noise', filledWith(0xa5, 1)],
];

/** A good file with a queue and retained messages. */
function goodFile(): Buffer {
  const directory = path.join(site.directory, 'good');
  const store = new Store({ directory, durability: 'os', onFirstWrite: () => undefined });
  const session = store.createSession('ms-acc-1', 's', neverExpires);
  const none = { properties: Buffer.alloc(0), expiresMs: undefined };
  const terms = { qos: 1, retain: false, identifiers: Buffer.alloc(0), share: undefined } as const;
  for (let sequence = 1; sequence < 100; sequence++) {
    const message = store.insertMessage({ topic, payload: Buffer.alloc(2000, queuedOctet), ...none }, 1);
    store.enqueue(session, { sequence, bytes: 2000, ...terms }, message);
    const retained = { topic: `t/${sequence}`, payload: Buffer.alloc(100), ...none };
    store.putRetained({ ...retained, qos: 1, origin: 'client' });
  }
  store.close();
  return readFileSync(path.join(directory, 'broker.sqlite'));
}

test('a damaged file: the start is refused with one line that names it', async () => {
  const good = goodFile();
  for (const [index, [name, damage]] of damages.entries()) {
    const data = path.join(site.directory, `damaged-${index}`);
    mkdirSync(data);
    const file = path.join(data, 'broker.sqlite');
    writeFileSync(file, damage(good));
    await assert.rejects(site.start({ data }), (error: Error & { code?: string }) => {
      assert.equal(error.code, 'broker.store_damaged', name);
      assert.match(
        error.message,
        /^cannot (open|use) \S+\/broker\.sqlite: (database disk image is malformed|file is not a database)$/,
        name,
      );
      return error.message.includes(file);
    });
  }
});

test('a damaged file: a start that failed half-way leaves the folder to the next one', async () => {
  const data = path.join(site.directory, 'half-way');
  const file = path.join(data, 'broker.sqlite');
  mkdirSync(data);
  const good = readFileSync(path.join(site.directory, 'good/broker.sqlite'));
  writeFileSync(file, filledWith(0xa5, retainedPage)(good));
  await assert.rejects(site.start({ data }), { code: 'broker.store_damaged' });
  writeFileSync(file, good);
  const { broker } = await site.start({ data });
  assert.equal(broker.state().retained, 99);
});

/** A page of the middle of the queue, which no start reads. */
function queuedPage(file: Buffer): number {
  const isQueued = (page: number): boolean =>
    file.subarray(page * pageBytes, (page + 1) * pageBytes).includes(Buffer.alloc(1000, queuedOctet));
  const pages = Array.from({ length: file.length / pageBytes }, (_, page) => page).filter(isQueued);
  return pages[Math.floor(pages.length / 2)] ?? 0;
}

test('a page that is found damaged later: the program ends with 65, starts no more on this file, and does on a good one', async () => {
  const data = path.join(site.directory, 'later');
  mkdirSync(data);
  const file = path.join(data, 'broker.sqlite');
  const good = readFileSync(path.join(site.directory, 'good/broker.sqlite'));
  const damaged = filledWith(0xa5, queuedPage(good))(good);
  writeFileSync(file, damaged);
  const broker = await startBrokerProcess(site, 'later', { settings: { data } });
  const bystander = await site.rawConnect(broker, 'ms-acc-2');
  await bystander.open({ clientId: 'bystander' });
  const reader = await site.rawConnect(broker, 'ms-acc-1');
  const session = { protocolId: 'MQTT', protocolVersion: 4, clean: false, keepalive: 0 } as const;
  reader.send({ cmd: 'connect', clientId: 's', ...session });
  await Promise.all([reader.closed, bystander.closed, broker.died()]);
  assert.equal(broker.exitStatus, 65);
  const { detail } = await broker.journal.until('store.failed', { reason: 'broker.store_damaged' });
  assert.equal(detail, `cannot use ${file}: database disk image is malformed`);
  assert.equal(broker.journal.find('store.reopened'), undefined);
  assert(readFileSync(`${file}.damaged`, 'utf8').endsWith(` ${detail}\n`));
  await assert.rejects(site.start({ data }), (error: Error & { code?: string }) => {
    assert.equal(error.code, 'broker.store_damaged');
    return /^cannot use \S+\/broker\.sqlite: it is damaged \(/.test(error.message);
  });
  writeFileSync(file, good);
  const { broker: repaired } = await site.start({ data });
  assert.equal(repaired.state().queued, 99);
  assert(!existsSync(`${file}.damaged`));
});

test('a damaged file: the program ends with status 1', async () => {
  const data = path.join(site.directory, 'program');
  mkdirSync(data);
  writeFileSync(path.join(data, 'broker.sqlite'), 'no database');
  await assert.rejects(
    startBrokerProcess(site, 'damaged', { settings: { data } }),
    /the broker ended with 1/,
  );
});
