import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import path from 'node:path';
import type { TestContext } from 'node:test';
import test from 'node:test';
import { readArchive } from '../../auditor/archive-reading.ts';
import { exportCsv, exportJson, exportParquet, tableNames } from '../../auditor/export.ts';
import type { ExportSource } from '../../auditor/export-source.ts';
import { readPolicyHistory } from '../../auditor/policy-history.ts';
import { readRecordIndex } from '../../auditor/record-index.ts';
import { envelopeDigest } from '../../cms/envelope.ts';
import { createOpener } from '../../cms/open.ts';
import { originatorsOf } from '../../cms/originator.ts';
import { createSealer } from '../../cms/seal.ts';
import type { DeviceView, EnvelopeItem, PolicyList } from '../../domain/audit-device-view.ts';
import type { EnvelopeView } from '../../domain/audit-view.ts';
import { encodeCommand, encodeCommandResult } from '../../domain/command.ts';
import type { Page } from '../backend/page.ts';
import { masterAccount } from '../device-agent/site.ts';
import type { Stage } from './page-stage.ts';
import { openStage } from './page-stage.ts';
import { readParquet } from './parquet-reader.ts';
import type { Bench } from './premises.ts';
import { device, openBench, publishPolicy, sealed, service, stranger, until } from './premises.ts';

const id = randomUUID();

/** A command of the vendor's, and the answer of the device. */
function commandAndResult({ site }: Bench, before: Buffer): { command: Buffer; result: Buffer } {
  const nowMs = Date.now();
  const expiresAtMs = nowMs + 60_000;
  const seal = (
    from: string,
    to: readonly string[],
    content: Uint8Array,
    topic: string,
    sequence: number,
  ): Buffer =>
    createSealer(site.identity(from)).seal(
      content,
      [...to, masterAccount].map((name) => site.identity(name).keyAgreement.certificate),
      {
        topic: `${device}/${topic}`,
        sequence,
        previousDigest: from === device ? envelopeDigest(before) : undefined,
        contentType: 'command+cbor',
        signingTimeMs: nowMs,
      },
    ).envelope;
  const command = encodeCommand({
    id,
    name: 'ping',
    issuedAtMs: nowMs,
    expiresAtMs,
    parameters: { loud: true },
  });
  const result = encodeCommandResult({ id, outcome: 'done', finishedAtMs: nowMs, detail: 'pong' });
  return {
    command: seal(stranger, [device], command, 'commands', 1),
    result: seal(device, [service, stranger], result, 'commands/result', 4),
  };
}

/** Two policies, three snapshots of which one was held and denied, a command and its answer. */
async function fill({ bench, auditor, rolf }: Stage): Promise<void> {
  await publishPolicy(bench, 1, { auto: ['fuel.*', 'note'] });
  await publishPolicy(bench, 2, { auto: ['fuel.*', 'note'], ask: ['door.*'] });
  const first = sealed(bench, 1, {
    readings: [
      { channel: 'fuel.level', value: 1.5, unit: 'm' },
      { channel: 'note', value: '=1+1' },
    ],
  });
  const second = sealed(bench, 2, {
    previous: first,
    readings: [{ channel: 'fuel.level', value: 2, unit: 'm' }],
  });
  const third = sealed(bench, 3, { previous: second, channel: 'door.open' });
  await bench.send(first, second, third);
  await until(() => auditor.state().held === 1);
  await rolf.post('/api/held/1/decision', { outcome: 'denied' });
  await until(() => auditor.state().held === 0);
  const { command, result } = commandAndResult(bench, third);
  const { link } = await bench.site.reader(stranger, 'commands', []);
  await link.publish(`${device}/commands`, command, { qos: 1 });
  await bench.agent.publish(`${device}/commands/result`, result, { qos: 1 });
  await until(() => auditor.state().entries === 6);
}

async function tableOf(page: Page, table: string): Promise<string[][]> {
  const { status, body } = await page.get(`/api/export/${table}.csv?device=${device}`);
  assert.equal(status, 200);
  const [header = '', ...lines] = String(body).trimEnd().split('\r\n');
  assert.match(header, /^[a-z]+(,[a-zA-Z0-9]+)+$/);
  return lines.map((line) => line.split(','));
}

test('page: everything about a device as CSV and as JSON, also after a restart', async (context) => {
  const bench = await openBench(context);
  const settings = { commandIssuers: [path.join(bench.site.folder, stranger)] };
  const stage = await openStage(context, settings, bench);
  const { vera } = stage;
  await fill(stage);
  const cells = (rows: readonly string[][], ...places: readonly number[]): unknown =>
    rows.map((row) => places.map((place) => row[place]));
  assert.deepEqual(cells(await tableOf(vera, 'snapshots'), 4, 5, 7, 8, 9), [
    ['1', 'released', 'fuel.level', 'm', '1.5'],
    ['1', 'released', 'note', '', "'=1+1"],
    ['2', 'released', 'fuel.level', 'm', '2'],
    ['3', 'denied', 'door.open', '', '3'],
  ]);
  assert.deepEqual(cells(await tableOf(vera, 'commands'), 2, 4, 5, 6, 7), [
    ['in', id, 'ping', '', stranger],
    ['out', id, 'result', 'done', device],
  ]);
  assert.deepEqual(cells(await tableOf(vera, 'decisions'), 3, 4, 5, 6), [['3', 'denied', 'rolf', '2']]);
  const entries = await tableOf(vera, 'entries');
  assert.deepEqual([entries.length, entries.filter((row) => row[12] !== '')], [6, []], 'no alarm among them');
  assert.deepEqual(cells(await tableOf(vera, 'policies'), 0, 1, 2, 7, 8, 9, 10), [
    [masterAccount, '2', masterAccount, 'vendor', service, 'fuel.* note', 'door.*'],
    [masterAccount, '1', masterAccount, 'vendor', service, 'fuel.* note', ''],
  ]);
  assert.deepEqual(
    new Set((await tableOf(vera, 'certificates')).map(([, purpose, place]) => `${purpose} ${place}`)),
    new Set([
      'signature 0',
      'signature 1',
      'signature 2',
      'key agreement 0',
      'key agreement 1',
      'key agreement 2',
    ]),
  );

  const everything = async (page: Page): Promise<Record<string, unknown[]>> => {
    const response = await page.fetch(`/api/export/everything.json?device=${device}`);
    assert.equal(
      response.headers.get('content-disposition'),
      'attachment; filename="ms-acc-1_acc-1_dev-1-everything.json"',
    );
    return (await response.json()) as Record<string, unknown[]>;
  };
  const before = await everything(vera);
  assert.deepEqual(
    Object.entries(before)
      .map(([name, rows]) => [name, rows.length])
      .slice(2),
    [
      ['snapshots', 4],
      ['commands', 2],
      ['entries', 6],
      ['decisions', 1],
      ['policies', 2],
      ['certificates', 6],
    ],
  );
  for (const bad of ['ms-acc-1', 'ms-acc-1/acc-1/../x', '../../etc/passwd'])
    assert.equal((await vera.get(`/api/export/entries.csv?device=${bad}`)).status, 400, bad);
  for (const bad of ['accounts', '..%2f..%2faccounts', 'entries%00'])
    assert.equal((await vera.get(`/api/export/${bad}.csv?device=${device}`)).status, 400, bad);
  const other = await vera.get('/api/export/snapshots.csv?device=ms-acc-1/acc-1/dev-10');
  assert.equal(String(other.body).trimEnd().split('\r\n').length, 1);

  await stage.auditor.stop();
  const again = await openStage(context, settings, bench);
  const after = await everything(again.vera);
  assert.deepEqual({ ...after, exported: '' }, { ...before, exported: '' });
});

test('page: an export of a part has what was received in that time, and of certificates and policies all', async (context) => {
  const bench = await openBench(context);
  const settings = { commandIssuers: [path.join(bench.site.folder, stranger)] };
  const stage = await openStage(context, settings, bench);
  const { vera } = stage;
  await fill(stage);
  const times = (await tableOf(vera, 'entries')).map((row) => row[1] ?? '');
  const middle = times[3] ?? assert.fail();
  const wanted = times.filter((time) => time < middle).length;
  const part = async (query: string): Promise<Record<string, unknown>> => {
    const response = await vera.fetch(`/api/export/everything.json?device=${device}&${query}`);
    assert.match(response.headers.get('content-disposition') ?? '', /-everything-part\.json"$/);
    return (await response.json()) as Record<string, unknown>;
  };
  const [before, after] = [await part(`until=${middle}`), await part(`from=${middle}`)];
  const count = (tables: Record<string, unknown>, name: string): number => (tables[name] as unknown[]).length;
  assert.deepEqual([count(before, 'entries'), count(after, 'entries')], [wanted, times.length - wanted]);
  assert.deepEqual([before['from'], before['until'], after['from']], [undefined, middle, middle]);
  for (const name of ['snapshots', 'commands'])
    assert.equal(count(before, name) + count(after, name), name === 'snapshots' ? 4 : 2, name);
  for (const all of ['policies', 'certificates']) assert.deepEqual(before[all], after[all]);
  const none = await part('from=2020-01-01&until=2020-01-02T03:04:05%2B02:00');
  assert.deepEqual(
    ['snapshots', 'commands', 'entries', 'decisions'].map((name) => count(none, name)),
    [0, 0, 0, 0],
  );
  for (const bad of [
    'from=yesterday',
    'from=2026-02-30',
    'until=',
    'from=1767225600000',
    'from=2026-01-01T00:00:00',
    'from=2026-01-01&from=2026-01-02',
    'from=2026-01-02&until=2026-01-02',
    'from=2026-01-02&until=2026-01-01',
  ]) {
    const { status, body } = await vera.get(`/api/export/entries.parquet?device=${device}&${bad}`);
    assert.equal(status, 400, bad);
    assert.match((body as { message: string }).message, /^(from|until): wanted a /, bad);
  }
  // What is mistyped would otherwise be answered with more than was asked for.
  for (const [address, name] of [
    [`export/entries.csv?device=${device}&form=2026-01-01`, 'form'],
    [`export/everything.json?device=${device}&From=2026-01-01`, 'From'],
    [`data-sheet.md?device=${device}&until=2026-01-01`, 'until'],
    [`envelopes?device=${device}&from=2026-01-01`, 'from'],
    [`completeness?devcie=${device}`, 'devcie'],
  ] as const) {
    const { status, body } = await vera.get(`/api/${address}`);
    assert.equal(status, 400, address);
    assert.match((body as { message: string }).message, new RegExp(`"${name}"`), address);
  }
});

/** What an auditor that was stopped has left, and who closes it. */
function leftBy(context: TestContext, { site, data }: Bench): ExportSource {
  const index = readRecordIndex(data);
  const archive = readArchive(data);
  const policyHistory = readPolicyHistory(data);
  context.after(() => [index, archive, policyHistory].forEach((part) => part.close()));
  const originators = [device, stranger].map((name) => {
    const { commonName, signature, keyAgreement } = site.identity(name);
    return { commonName, signature: signature.certificate, keyAgreement: keyAgreement.certificate };
  });
  const recipient = site.identity(masterAccount).keyAgreement;
  const opener = createOpener({ recipient, originators: originatorsOf(originators) });
  const bounds = { fromMs: -Infinity, untilMs: Infinity, last: Infinity };
  return { directory: data, index, opener, archive, policyHistory, bounds };
}

/** A row as JSON has it: nothing where nothing is, texts for times, and one column of values. */
function asJson(row: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { number, text: said, flag, ...others } = row;
  const cells = Object.entries('flag' in row ? { ...others, value: number ?? said ?? flag } : row);
  return Object.fromEntries(
    cells.filter(([, cell]) => cell !== null).map(([name, cell]) => [name, jsonCell(cell)]),
  );
}

function jsonCell(cell: unknown): unknown {
  if (cell instanceof Date) return cell.toISOString();
  return typeof cell === 'bigint' ? Number(cell) : cell;
}

test('page: Parquet says of every table what JSON says, from several row groups', async (context) => {
  const bench = await openBench(context);
  const settings = { commandIssuers: [path.join(bench.site.folder, stranger)] };
  const stage = await openStage(context, settings, bench);
  await fill(stage);
  const fetched = await stage.vera.fetch(`/api/export/snapshots.parquet?device=${device}`);
  assert.deepEqual(
    ['content-type', 'content-disposition'].map((name) => fetched.headers.get(name)),
    ['application/vnd.apache.parquet', 'attachment; filename="ms-acc-1_acc-1_dev-1-snapshots.parquet"'],
  );
  const served = await fetched.arrayBuffer();
  for (const bad of ['accounts', '..%2f..%2faccounts', 'entries%00'])
    assert.equal((await stage.vera.get(`/api/export/${bad}.parquet?device=${device}`)).status, 400, bad);
  await stage.auditor.stop();

  const source = leftBy(context, bench);
  const json = [...exportJson(source, device, 0)].join('');
  const tables = JSON.parse(json) as Record<string, Record<string, unknown>[]>;
  for (const table of tableNames) {
    const { groups, rows } = await readParquet(exportParquet(source, table, device, 1));
    const columns = [...exportCsv(source, table, device)].join('').split('\r\n', 1).join().split(',');
    assert.deepEqual(
      Object.keys(rows[0] ?? {}),
      columns.flatMap((name) => (name === 'value' ? ['number', 'text', 'flag'] : [name])),
    );
    const wanted = tables[table]?.map((row) =>
      Object.fromEntries(Object.entries(row).filter(([name]) => columns.includes(name))),
    );
    assert.deepEqual(rows.map(asJson), wanted, table);
    assert.equal(groups.length, rows.length, table);
  }
  const { rows } = await readParquet([new Uint8Array(served)]);
  assert.deepEqual(rows.map(asJson), tables['snapshots']);
});

test('page: who gets what, which policy said it, and the data sheet', async (context) => {
  const bench = await openBench(context);
  const stage = await openStage(context, { commandIssuers: [path.join(bench.site.folder, stranger)] }, bench);
  const { vera } = stage;
  await fill(stage);
  const { body } = await vera.get(`/api/device?device=${device}`);
  const { groups, levels, sheet, keptSinceMs, tables } = body as DeviceView;
  assert.deepEqual(groups[0]?.channels, { auto: ['fuel.level', 'note'], ask: ['door.open'], deny: [] });
  assert.deepEqual(levels, [{ path: masterAccount, number: 2, standing: 'in_force' }]);
  assert.ok(keptSinceMs !== undefined && tables.includes('snapshots'));
  assert.deepEqual(sheet.sections.find(({ title }) => title === 'What it records')?.table?.rows, [
    ['door.open', 'number', '', 'in 33 % of the snapshots', 'vendor, once a person has released it'],
    ['fuel.level', 'number', 'm', 'in 67 % of the snapshots', 'vendor'],
    ['note', 'text', '', 'in 33 % of the snapshots', 'vendor'],
  ]);
  assert.deepEqual(sheet.sections.find(({ title }) => title === 'For whom')?.table?.rows, [
    ['the owner', masterAccount, 'whatever anybody reads', '', ''],
    ['vendor', service, '2 of 3 channels', '1 more', 'no limit'],
  ]);
  assert.ok(sheet.sections.every(({ articles }) => /^Art\. \d+\(\d+\)/.test(articles)));

  const { body: envelopes } = await vera.get(`/api/envelopes?device=${device}`);
  assert.deepEqual(
    (envelopes as EnvelopeItem[]).map(({ sequence, outcome, channelCount }) => [
      sequence,
      outcome,
      channelCount,
    ]),
    [
      [3, 'denied', 1],
      [2, 'released', 1],
      [1, 'released', 2],
    ],
  );
  const newest = (envelopes as EnvelopeItem[])[0]?.number;
  const { body: inside } = await vera.get(`/api/envelopes/${newest}`);
  assert.deepEqual((inside as EnvelopeView).readings, [{ channel: 'door.open', value: 3 }]);
  assert.equal((await vera.get('/api/envelopes/1')).status, 404, 'the names of channels are an entry too');

  const { body: list } = await vera.get('/api/policies');
  const { policies, publishing, refusals } = list as PolicyList;
  assert.deepEqual(
    policies.map(({ path: owner, number, signer, isNewest }) => [owner, number, signer, isNewest]),
    [
      [masterAccount, 2, masterAccount, true],
      [masterAccount, 1, masterAccount, false],
    ],
  );
  assert.equal(publishing.brokerName, masterAccount);
  assert.deepEqual(refusals, []);
  assert.deepEqual((await vera.get('/api/devices')).body, [{ device, levels, readers: [service] }]);
  for (const [format, wanted] of [
    ['md', /^# Data sheet of ms-acc-1\/acc-1\/dev-1\n/],
    ['html', /^<!doctype html>[\s\S]*<td>fuel\.level<\/td>/],
  ] as const) {
    const response = await vera.fetch(`/api/data-sheet.${format}?device=${device}`);
    assert.match(await response.text(), wanted);
    assert.match(response.headers.get('content-disposition') ?? '', /^attachment; /);
  }
});
