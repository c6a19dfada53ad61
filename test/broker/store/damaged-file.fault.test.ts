import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Store } from '../../../broker/store/store.ts';
import { startBrokerProcess } from '../broker-process.ts';
import type { Site } from '../fixture.ts';
import { openSite } from '../fixture.ts';

let site: Site;
before(() => void (site = openSite()));
after(() => site.remove());

const pageBytes = 8192;
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
  const session = store.createSession('ms-acc-1', 's', 100);
  const none = { properties: Buffer.alloc(0), expiresMs: undefined };
  const terms = { qos: 1, retain: false, identifiers: Buffer.alloc(0), share: undefined } as const;
  for (let sequence = 1; sequence < 100; sequence++) {
    const message = store.insertMessage({ topic: 't', payload: Buffer.alloc(2000), ...none }, 1);
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
      assert.equal(error.code, 'broker.store_failed', name);
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
  await assert.rejects(site.start({ data }), { code: 'broker.store_failed' });
  writeFileSync(file, good);
  const { broker } = await site.start({ data });
  assert.equal(broker.state().retained, 99);
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
