import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { Entry } from '../../auditor/record.ts';
import { channelsOf, openRecord } from '../../auditor/record.ts';
import { parseNamespacePath } from '../../domain/namespace.ts';
import type { PassageLeaf } from '../../ledger/leaf.ts';
import { plombe } from '../system/process.ts';

interface PrintedListing {
  readonly totals: { readonly entries: number; readonly alarms: number; readonly bytes: number };
  readonly entries: readonly (Omit<PassageLeaf, 'digest'> & { readonly digest: string })[];
}

const directory = mkdtempSync(path.join(tmpdir(), 'plombe-auditor-list-'));
const config = path.join(directory, 'auditor.yaml');
const firstMs = Date.UTC(2026, 0, 1);

before(() => {
  // The keys are not here: whoever lists need not be able to read them.
  writeFileSync(config, 'identity: ./nowhere\ndata: ./record\n');
  const owner = parseNamespacePath('ms-acc-1');
  assert.ok(owner);
  const record = openRecord(path.join(directory, 'record'), owner, firstMs);
  record.append([
    entry('ms-acc-1/acc-1/dev-1', 1, undefined),
    entry('ms-acc-1/acc-1/dev-10', 2, undefined),
    entry('ms-acc-1/acc-2/dev-1', 3, { reason: 'foreign_recipient', detail: 'for somebody else too' }),
  ]);
  record.close();
});

after(() => rmSync(directory, { recursive: true, force: true }));

function entry(device: string, sequence: number, alarm: PassageLeaf['alarm']): Entry {
  const channelNames = ['level', 'ok'];
  return {
    channelNames,
    passage: {
      kind: 'passage',
      timeMs: firstMs + sequence * 1000 + 10,
      direction: 'out',
      topic: `${device}/snapshots`,
      sequence,
      signingTimeMs: firstMs + sequence * 1000,
      digest: createHash('sha256').update(`${device} ${sequence}`).digest(),
      previousDigest: undefined,
      recipients: [
        { identifier: 'aa', name: 'vendor-snapshot-service' },
        ...(alarm === undefined ? [] : [{ identifier: 'bb', name: undefined }]),
      ],
      channels: channelsOf(channelNames),
      bytes: 1000,
      outcome: 'passed',
      alarm,
      policy: undefined,
      decidedBy: undefined,
    },
  };
}

async function listed(...args: readonly string[]): Promise<PrintedListing> {
  const { status, stdout, stderr } = await plombe('auditor', 'list', '--config', config, '--json', ...args);
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout) as PrintedListing;
}

test('plombe auditor list: a line for each envelope, oldest first, and one with the totals', async () => {
  const { status, stdout, stderr } = await plombe('auditor', 'list', '--config', config);
  assert.deepEqual([status, stderr], [0, '']);
  // Leaf 0 is the beginning, leaf 1 the list of the channels.
  assert.deepEqual(stdout.split('\n'), [
    '2  2026-01-01T00:00:01.000Z  ms-acc-1/acc-1/dev-1/snapshots #1  1000 bytes, 2 channels  for vendor-snapshot-service  ok',
    '3  2026-01-01T00:00:02.000Z  ms-acc-1/acc-1/dev-10/snapshots #2  1000 bytes, 2 channels  for vendor-snapshot-service  ok',
    '4  2026-01-01T00:00:03.000Z  ms-acc-1/acc-2/dev-1/snapshots #3  1000 bytes, 2 channels  for vendor-snapshot-service, UNKNOWN bb  ALARM foreign_recipient: for somebody else too',
    '3 envelopes, 3000 bytes, 1 alarms',
    '',
  ]);
});

test('plombe auditor list --json: totals and entries', async () => {
  const { totals, entries } = await listed();
  assert.deepEqual(totals, { entries: 3, alarms: 1, bytes: 3000 });
  assert.deepEqual(
    entries.map(({ sequence }) => sequence),
    [1, 2, 3],
  );
  assert.equal(entries[0]?.digest, createHash('sha256').update('ms-acc-1/acc-1/dev-1 1').digest('hex'));
});

test('plombe auditor list --device, --alarms, --last: each narrows what is listed', async () => {
  const sequences = async (...args: readonly string[]): Promise<unknown[]> =>
    (await listed(...args)).entries.map(({ sequence }) => sequence);
  assert.deepEqual(await sequences('--device', 'ms-acc-1/acc-1/dev-1'), [1]);
  assert.deepEqual(await sequences('--device', 'ms-acc-1/acc-1'), [1, 2]);
  assert.deepEqual(await sequences('--alarms'), [3]);
  assert.deepEqual(await sequences('--last', '2'), [2, 3]);
  assert.deepEqual(await sequences('--device', 'ms-acc-1/acc-1', '--alarms'), []);
});

test('plombe auditor list: without a record, one line and exit status 1', async () => {
  const other = path.join(directory, 'other.yaml');
  writeFileSync(other, 'data: ./elsewhere\n');
  const { status, stdout, stderr } = await plombe('auditor', 'list', '--config', other);
  assert.deepEqual([status, stdout], [1, '']);
  assert.match(stderr, /^plombe: .*elsewhere.*: there is no record yet\n$/);
});

test('plombe auditor list: wrong use is exit status 2', async () => {
  for (const args of [[], ['--config', config, '--last', '0'], ['--config', config, '--device', 'a/b/c/d']]) {
    const { status, stdout } = await plombe('auditor', 'list', ...args);
    assert.deepEqual([status, stdout], [2, ''], args.join(' '));
  }
});
