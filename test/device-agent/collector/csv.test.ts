import assert from 'node:assert/strict';
import test from 'node:test';
import { channelOfHeader, collectCsv } from '../../../device-agent/collector/csv.ts';
import { collected, rejectionsOf, samplesOf, temporaryFile } from './files.ts';

// The header and the first rows of ai4i2020.csv (S. Matzka, UCI #601, CC BY 4.0), with its byte order mark and CRLF.
const mill = [
  '\uFEFFUDI,Product ID,Type,Air temperature [K],Process temperature [K],Rotational speed [rpm],Torque [Nm],Tool wear [min],Machine failure,TWF,HDF,PWF,OSF,RNF',
  '1,M14860,M,298.1,308.6,1551,42.8,0,0,0,0,0,0,0',
  '2,L47181,L,298.2,308.7,1408,46.3,3,0,0,0,0,0,0',
  '',
].join('\r\n');

test('channelOfHeader: known answers', () => {
  assert.deepEqual(channelOfHeader('Air temperature [K]'), { channel: 'air-temperature', unit: 'K' });
  assert.deepEqual(channelOfHeader('Öl.Druck (innen) [hPa]'), { channel: 'ol.druck-innen', unit: 'hPa' });
  assert.deepEqual(channelOfHeader(' TWF '), { channel: 'twf', unit: undefined });
  assert.deepEqual(channelOfHeader('x []'), { channel: 'x', unit: undefined });
  assert.equal(channelOfHeader('[K]'), undefined);
  assert.equal(channelOfHeader('???'), undefined);
  assert.equal(channelOfHeader('a'.repeat(65)), undefined);
});

test('collectCsv: a mill of AI4I 2020', async (context) => {
  const samples = samplesOf(
    await collected(collectCsv(temporaryFile(context, mill), { deviceType: 'MILL', startMs: 60_000 })),
  );
  assert.equal(samples.length, 2);
  assert.deepEqual(samples[1]?.snapshot.readings.slice(0, 6), [
    { channel: 'udi', value: 2 },
    { channel: 'product-id', value: 'L47181' },
    { channel: 'type', value: 'L' },
    { channel: 'air-temperature', unit: 'K', value: 298.2 },
    { channel: 'process-temperature', unit: 'K', value: 308.7 },
    { channel: 'rotational-speed', unit: 'rpm', value: 1408 },
  ]);
  assert.equal(samples[1]?.snapshot.timeMs, 120_000);
  assert.equal(samples[1]?.snapshot.deviceType, 'MILL');
  assert.equal(samples[1]?.device, undefined);
});

test('collectCsv: time and machine come from their columns', async (context) => {
  const text =
    'when,machine,level\n2026-01-01T00:00:00Z,a,1\n1767225600,b,2\n1767225600500,b,3\n2026-01-01 01:00:00+01:00,a,4\n';
  const options = { deviceType: 'TANK', timeColumn: 'when', deviceColumn: 'machine' };
  const samples = samplesOf(await collected(collectCsv(temporaryFile(context, text), options)));
  assert.deepEqual(
    samples.map(({ device, snapshot }) => [device, snapshot.timeMs - Date.UTC(2026, 0, 1)]),
    [
      ['a', 0],
      ['b', 0],
      ['b', 500],
      ['a', 0],
    ],
  );
});

test('collectCsv: a bad row is rejected with its line and reason, the rest goes on', async (context) => {
  const text = [
    'time,level [m],ok,note',
    '1767225600,1.5,true,fine',
    '1767225600,1.5,true',
    '1767225600,high,true,x',
    '1767225600,NaN,true,x',
    '1767225600,1,maybe,x',
    '2026-01-01T00:00:00,1,true,x',
    'yesterday,1,true,x',
    `1767225600,1,true,${'x'.repeat(257)}`,
    '1767225600,,,',
    '1767225600,1,true,"x"y',
    '1767225600,,FALSE,',
  ].join('\n');
  const items = await collected(
    collectCsv(temporaryFile(context, text), { deviceType: 'T', timeColumn: 'time' }),
  );
  assert.deepEqual(
    rejectionsOf(items).map(({ line, reason }) => [line, reason]),
    [
      [3, 'column-count'],
      [4, 'not-a-number'],
      [5, 'not-a-number'],
      [6, 'bad-value'],
      [7, 'bad-time'],
      [8, 'bad-time'],
      [9, 'bad-value'],
      [10, 'no-values'],
      [11, 'bad-quotes'],
    ],
  );
  assert.deepEqual(samplesOf(items).at(-1)?.snapshot.readings, [{ channel: 'ok', value: false }]);
});

test('collectCsv: bytes that are no UTF-8 are rejected where they are a text value', async (context) => {
  const bytes = Buffer.concat([Buffer.from('a,b\nok,1\n'), Buffer.of(0xff, 0xfe), Buffer.from(',2\n')]);
  const items = await collected(collectCsv(temporaryFile(context, bytes), { deviceType: 'T' }));
  assert.deepEqual(
    items.map((item) =>
      item.kind === 'rejected' ? [item.line, item.reason] : item.snapshot.readings.length,
    ),
    [2, [3, 'not-utf8']],
  );
});

for (const [name, text, pattern] of [
  ['nothing', '', /no header/],
  ['a header that names a channel twice', 'a,A\n', /second time/],
  ['a header without a name', 'a,"?"\n', /names no channel/],
  ['a missing time column', 'a,b\n', /no column "time"/],
  ['a header that is not CSV', 'a,b"c\n1,2\n', /not CSV/],
] as const) {
  test(`collectCsv: ${name} is refused`, async (context) => {
    const options = { deviceType: 'T', ...(name.includes('time column') ? { timeColumn: 'time' } : {}) };
    await assert.rejects(collected(collectCsv(temporaryFile(context, text), options)), {
      code: 'collector.format',
      message: pattern,
    });
  });
}
