import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import test from 'node:test';
import { Departures } from '../../auditor/departures.ts';
import { exportCsv } from '../../auditor/export.ts';
import { LedgerCheck } from '../../auditor/page/ledger-check.ts';
import { openPolicyHistory } from '../../auditor/policy-history.ts';
import { indexFileName } from '../../auditor/record-index.ts';
import type { Entry } from '../../auditor/record.ts';
import { channelsOf, openRecord } from '../../auditor/record.ts';
import { withheldIn } from '../../auditor/withheld.ts';
import type { PassageLeaf } from '../../ledger/leaf.ts';
import { devicePath } from '../device-agent/site.ts';
import { temporaryFolder } from '../device-agent/collector/files.ts';
import { RecordedLog } from '../runtime/recorded-log.ts';

const owner = devicePath('ms-acc-1/acc-1/dev-1');
const noonMs = new Date(2026, 5, 10, 12).getTime();
const dayMs = 24 * 3600 * 1000;

function entry(device: string, sequence: number, timeMs: number, change: Partial<PassageLeaf> = {}): Entry {
  const channelNames = sequence % 2 === 0 ? ['level'] : ['level', 'flow'];
  return {
    channelNames,
    passage: {
      kind: 'passage',
      timeMs,
      direction: 'out',
      topic: `${device}/snapshots`,
      sequence,
      signingTimeMs: timeMs,
      digest: createHash('sha256').update(`${device} ${sequence}`).digest(),
      previousDigest: undefined,
      recipients: [{ identifier: 'aa', name: 'vendor-snapshot-service' }],
      channels: channelsOf(channelNames),
      bytes: 1000,
      outcome: 'released',
      alarm: undefined,
      policy: undefined,
      decidedBy: undefined,
      ...change,
    },
  };
}

test('Departures: adds up what left since midnight, goes on from there, and begins anew the next day', async (context) => {
  const record = openRecord(temporaryFolder(context), owner, noonMs - 2 * dayMs);
  context.after(() => record.close());
  const yesterday = Array.from({ length: 700 }, (_, index) => entry('m/a/one', index + 1, noonMs - dayMs));
  record.append(yesterday);
  record.append([
    entry('m/a/one', 701, noonMs - 2),
    entry('m/a/one', 702, noonMs - 1, { outcome: 'denied', alarm: { reason: 'policy.x', detail: '' } }),
    entry('m/a/two', 1, noonMs, { outcome: 'held' }),
    entry('m/a/two', 2, noonMs, { direction: 'in', topic: 'm/a/two/commands' }),
  ]);
  let nowMs = noonMs;
  const departures = new Departures(record, () => nowMs);
  const sums = async () => {
    const { envelopes, bytes, denied, held, alarms, isComplete } = await departures.today();
    return [envelopes, bytes, denied, held, alarms, isComplete];
  };
  assert.deepEqual(await sums(), [1, 1000, 1, 1, 1, true]);
  record.append([entry('m/a/two', 1, noonMs + 1, { decidedBy: 'Anna', alarm: { reason: 'x', detail: '' } })]);
  assert.deepEqual(await sums(), [2, 2000, 1, 1, 2, true]);
  const { devices, recipients } = await departures.today();
  assert.deepEqual(
    devices.map(({ device, envelopes, channels }) => [device, envelopes, channels.map(({ name }) => name)]),
    [
      ['m/a/one', 1, ['level', 'flow']],
      ['m/a/two', 1, ['level', 'flow']],
    ],
  );
  assert.deepEqual(recipients, [
    { name: 'vendor-snapshot-service', envelopes: 2, bytes: 2000, isKnown: true },
  ]);
  nowMs += dayMs;
  assert.deepEqual(await sums(), [0, 0, 0, 0, 0, true]);
});

test('withheldIn: counts what the ledger says last of each envelope, and nothing that could not be opened', (context) => {
  const directory = temporaryFolder(context);
  assert.deepEqual(withheldIn(directory), new Map());
  // As it is for a moment, when an auditor begins.
  const begun = new DatabaseSync(path.join(directory, indexFileName));
  begun.exec('PRAGMA journal_mode = WAL');
  assert.deepEqual(withheldIn(directory), new Map());
  begun.close();
  const record = openRecord(directory, owner, noonMs);
  context.after(() => record.close());
  const held = [1, 2, 3].map((sequence) => entry('m/a/one', sequence, noonMs, { outcome: 'held' }));
  const broken = { reason: 'cms.rejected', detail: '' };
  record.append([
    ...held,
    entry('m/a/one', 4, noonMs, { outcome: 'denied', alarm: broken }), // before the genuine one, which leaves
    entry('m/a/one', 4, noonMs),
    entry('m/a/two', 1, noonMs, { outcome: 'denied', alarm: { reason: 'policy.x', detail: '' } }),
  ]);
  assert.deepEqual(Object.fromEntries(withheldIn(directory)), {
    'm/a/one': { held: 3, denied: 0 },
    'm/a/two': { held: 0, denied: 1 },
  });
  for (const [index, outcome] of (['released', 'denied'] as const).entries()) {
    const passage = held[index]?.passage ?? assert.fail();
    record.appendDecision({ ...passage, outcome, decidedBy: 'Anna' });
  }
  assert.deepEqual(withheldIn(directory).get('m/a/one'), { held: 1, denied: 1 });
});

test('exportCsv: the entries of a device alone, in order, and no formula where the file is opened', async (context) => {
  const directory = temporaryFolder(context);
  const record = openRecord(directory, owner, noonMs);
  const alarm = { reason: 'cms.malformed', detail: '=HYPERLINK("http://evil.test"),\r\n"x"' };
  record.append([
    entry('m/a/dev', 1, noonMs),
    entry('m/a/dev-2', 1, noonMs),
    entry('m/a/dev', 2, noonMs, { topic: 'm/a/dev/shared/insurer/snapshots', signingTimeMs: 9e15, alarm }),
    ...['\n=1+1', '＝1+1'].map((detail, index) =>
      entry('m/a/dev', 3 + index, noonMs, { alarm: { reason: 'cms.malformed', detail } }),
    ),
  ]);
  const policyHistory = openPolicyHistory(directory);
  context.after(() => [record, policyHistory].forEach((file) => file.close()));
  const opener = { open: () => assert.fail('nothing is opened for entries') };
  const bounds = { fromMs: -Infinity, untilMs: Infinity, last: Infinity };
  const source = { directory, index: record.index, opener, archive: undefined, policyHistory, bounds };
  const text = [...exportCsv(source, 'entries', devicePath('m/a/dev'))].join('');
  const time = new Date(noonMs).toISOString();
  const [, first = '', ...rest] = text.split('\r\n');
  assert.ok(
    first.startsWith(`2,${time},out,m/a/dev/snapshots,1,${time},1000,vendor-snapshot-service,2,released,`),
  );
  const last = rest.join('\r\n');
  assert.ok(last.includes(`,m/a/dev/shared/insurer/snapshots,2,9000000000000000,`));
  assert.ok(last.includes(`,cms.malformed,"'=HYPERLINK(""http://evil.test""),\r\n""x""",`));
  assert.ok(last.includes(`,cms.malformed,"'\n=1+1",`));
  assert.ok(last.includes(`,cms.malformed,'＝1+1,`));
  assert.ok(!text.includes('dev-2'));
});

test('LedgerCheck: a changed octet is found and named, and the program goes on', async (context) => {
  const directory = temporaryFolder(context);
  const record = openRecord(directory, owner, noonMs);
  record.append([entry('m/a/dev', 1, noonMs), entry('m/a/dev', 2, noonMs)]);
  record.close();
  const ledgerFile = path.join(directory, 'egress.ledger');
  const octets = readFileSync(ledgerFile);
  octets.writeUInt8(octets.readUInt8(octets.length - 20) ^ 1, octets.length - 20);
  writeFileSync(ledgerFile, octets);
  const recorded = new RecordedLog();
  const headFile = path.join(directory, 'countersigned.head');
  const check = new LedgerCheck({ ledgerFile, headFile, roots: [], clock: () => noonMs, log: recorded.log });
  assert.equal(check.start('anna'), true);
  assert.equal(check.start('berta'), false);
  const { reason } = await recorded.event('ledger.not_verified');
  assert.equal(reason, 'damaged');
  assert.ok(check.state.state === 'found');
  assert.deepEqual([check.state.by, check.state.finding.leaves], ['anna', 4]);
});
