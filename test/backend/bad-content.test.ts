import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { encode } from 'cborg';
import { readDeadLetters } from '../../database/dead-letters.ts';
import { readLatest } from '../../database/latest.ts';
import { countSnapshots } from '../../database/totals.ts';
import type { ChannelValue } from '../../domain/snapshot.ts';
import { dataFolder } from '../cms/fixtures.ts';
import { bench, introduce, publish } from './ingest-bench.ts';
import type { Bench } from './ingest-bench.ts';
import type { Device } from './vendor.ts';

const name = 'ms-acc-1/acc-1/dev-1';
const timeSeconds = Date.now() / 1000;
const yearMs = 366 * 86_400_000;

const jsonSuite = path.join(dataFolder, 'jsontestsuite', 'test_parsing');
const naughty: readonly string[] = JSON.parse(
  readFileSync(path.join(dataFolder, 'naughty_strings', 'blns.json'), 'utf8'),
) as string[];

/** SenML by hand, so that nobody refuses it before it is sealed. */
function pack(
  records: readonly (readonly [channel: unknown, value: ChannelValue, unit?: unknown])[],
  type = 'FM',
) {
  const base = { bn: `${name}:`, bt: timeSeconds, n: 'device.type', vs: type };
  const label = (value: ChannelValue): string =>
    typeof value === 'number' ? 'v' : typeof value === 'string' ? 'vs' : 'vb';
  return Buffer.from(
    encode([
      base,
      ...records.map(([n, value, u]) => ({ n, [label(value)]: value, ...(u === undefined ? {} : { u }) })),
    ]),
  );
}

async function benchWithDevice(context: Parameters<typeof bench>[0]): Promise<{ on: Bench; device: Device }> {
  const on = await bench(context);
  const device = await on.vendor.device(name);
  await introduce(on, device);
  return { on, device };
}

const reasonsOf = async (on: Bench): Promise<string[]> =>
  (await readDeadLetters(on.database, '')).map(({ reason }) => reason).toReversed();

test('Ingest: what an envelope opens to is stored, or refused with its reason, kept and counted', async (context) => {
  const { on, device } = await benchWithDevice(context);
  const many = Array.from({ length: 10_000 }, (_, index) => [`c${index}`, index] as const);
  const cases: readonly (readonly [string, Buffer])[] = [
    ['senml.malformed', Buffer.alloc(0)],
    ['senml.malformed', Buffer.from('SenML?')],
    ['senml.malformed', Buffer.from(encode({ v: 1 }))],
    ['senml.malformed', Buffer.from(encode([1, 2, 3]))],
    ['senml.malformed', Buffer.from(encode([{ n: 'a', v: 'text' }]))],
    [
      'senml.malformed',
      pack([
        ['a', 1],
        ['a', 2],
      ]),
    ],
    ['senml.not_finite', pack([['a', NaN]])],
    ['senml.not_finite', pack([['a', Infinity]])],
    ['senml.not_finite', pack([['a', -Infinity]])],
    ['senml.no_values', Buffer.from(encode([]))],
    ['senml.foreign', Buffer.from(encode([{ bn: 'ms-acc-1/acc-1/dev-2:', bt: timeSeconds, n: 'a', v: 1 }]))],
    ['senml.limit', pack([...many, ['one-more', 1]])],
    ['too_many_channels', pack(many)],
    ['bad_unit', pack([['a', 1, 'l/h ']])],
    ['bad_device_type', pack([['a', 1]], 'x'.repeat(65))],
    ['senml.unsupported', Buffer.from(encode([{ n: 'a', v: 1 }]))], // no time
  ];
  const times: readonly (readonly [string, number])[] = [
    ['time_out_of_range', Date.UTC(1999, 11, 31)],
    ['time_out_of_range', Date.now() + 2 * yearMs],
    ['senml.limit', Date.UTC(12_000, 0)],
  ];
  let sequence = 0;
  for (const [, content] of cases) await publish(on, device.seal(content, { sequence: ++sequence }));
  for (const [, timeMs] of times) {
    const content = Buffer.from(encode([{ bt: timeMs / 1000, n: 'a', v: 1 }]));
    await publish(on, device.seal(content, { sequence: ++sequence }));
  }
  const wanted = [...cases, ...times].map(([reason]) => reason);
  assert.deepEqual(await reasonsOf(on), wanted);
  for (const reason of new Set(wanted))
    assert.equal(on.measures.tally.rejected[reason], wanted.filter((one) => one === reason).length);
  assert.deepEqual(
    await on.database.kysely.selectFrom('channel').selectAll().execute(),
    [],
    'no channel is left',
  );
  await publish(on, device.snapshot(++sequence));
  assert.deepEqual(await countSnapshots(on.database, ''), { stored: 1, duplicated: 0 }, 'the rest goes on');
});

test('Ingest: a value of another kind than the channel has is stored, counted, and the change is remembered', async (context) => {
  const { on, device } = await benchWithDevice(context);
  const values = [1, 2, 'overflow', 3, true];
  for (const [index, value] of values.entries())
    await publish(on, device.snapshot(index + 1, [{ channel: 'a', value }]));
  assert.deepEqual(await countSnapshots(on.database, ''), { stored: 5, duplicated: 0 });
  const changes = await on.database.kysely
    .selectFrom('channel_change')
    .select(['field', 'old_value', 'new_value'])
    .orderBy('id')
    .execute();
  assert.deepEqual(
    changes.map(({ field, old_value, new_value }) => [field, old_value, new_value]),
    [
      ['kind', 'number', 'string'],
      ['kind', 'string', 'number'],
      ['kind', 'number', 'boolean'],
    ],
  );
  const { values: counted } = await on.measures.kindChanges.get();
  assert.deepEqual(
    counted.map(({ value }) => value),
    [3],
  );
});

test('Ingest: of JSON that is or is not, no file of the test suite is taken for a snapshot or for an error of ours', async (context) => {
  const { on, device } = await benchWithDevice(context);
  const files = readdirSync(jsonSuite);
  await Promise.all(
    files.map((file, index) =>
      publish(
        on,
        device.seal(readFileSync(path.join(jsonSuite, file)), {
          sequence: index + 1,
          contentType: 'senml+json',
        }),
      ),
    ),
  );
  const reasons = await reasonsOf(on);
  assert.equal(reasons.length, files.length);
  assert.deepEqual(
    reasons.filter((reason) => !reason.startsWith('senml.')),
    [],
  );
});

test('Ingest: naughty strings come back as values as they are, and as names and units are taken or refused with a reason', async (context) => {
  const { on, device } = await benchWithDevice(context);
  const texts = naughty.filter((text) => text.length <= 256);
  assert.ok(texts.length > 500);
  let sequence = 0;
  await publish(
    on,
    device.seal(pack(texts.map((text, index) => [`c${index}`, text])), { sequence: ++sequence }),
  );
  const latest = new Map((await readLatest(on.database, name)).map(({ channel, value }) => [channel, value]));
  for (const [index, text] of texts.entries()) assert.equal(latest.get(`c${index}`), text);

  await Promise.all(
    naughty.flatMap((text) => [
      publish(on, device.seal(pack([[text, 1]]), { sequence: ++sequence })),
      publish(on, device.seal(pack([['unit', 1, text]]), { sequence: ++sequence })),
      publish(on, device.seal(pack([['type', 1]], text), { sequence: ++sequence })),
    ]),
  );
  const wellKnown = /^(senml\.|bad_unit|bad_device_type|too_many_)/;
  assert.deepEqual(
    Object.keys(on.measures.tally.rejected).filter((reason) => !wellKnown.test(reason)),
    [],
  );
  const refused = Object.values(on.measures.tally.rejected).reduce((sum, count) => sum + count, 0);
  const { stored } = await countSnapshots(on.database, '');
  assert.equal(stored + refused, 1 + 3 * naughty.length, 'nothing is lost');
  assert.ok(stored > naughty.length / 2, 'what is no worse than odd is taken');
});
