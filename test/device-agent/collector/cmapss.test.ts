import assert from 'node:assert/strict';
import test from 'node:test';
import { gzipSync, inflateRawSync, constants } from 'node:zlib';
import {
  cmapssColumns,
  cmapssCycleMs,
  cmapssStartMs,
  collectCmapss,
} from '../../../device-agent/collector/cmapss.ts';
import { isChannelName } from '../../../domain/snapshot.ts';
import { seededRandom } from '../../../device-agent/collector/random.ts';
import { collected, rejectionsOf, samplesOf, temporaryFile } from './files.ts';

// The first rows of train_FD001.txt (NASA, US Government work), with its two blanks at the end.
const rows = [
  '1 1 -0.0007 -0.0004 100.0 518.67 641.82 1589.70 1400.60 14.62 21.61 554.36 2388.06 9046.19 1.30 47.47 521.66 2388.02 8138.62 8.4195 0.03 392 2388 100.00 39.06 23.4190  ',
  '1 2 0.0019 -0.0003 100.0 518.67 642.15 1591.82 1403.14 14.62 21.61 553.75 2388.04 9044.07 1.30 47.49 522.28 2388.07 8131.49 8.4318 0.03 392 2388 100.00 39.00 23.4236  ',
];
const [first = '', second = ''] = rows;

/** As many rows as wanted, all different. */
function manyRows(count: number): string[] {
  const random = seededRandom(7);
  return Array.from({ length: count }, (_, index) => {
    const sensors = Array.from({ length: 24 }, () => (1000 * random()).toFixed(4));
    return [1 + Math.floor(index / 50), 1 + (index % 50), ...sensors].join(' ');
  });
}

test('cmapssColumns: 26 columns, every channel a valid name, none twice', () => {
  const channels = cmapssColumns.flatMap((column) => column.channel ?? []);
  assert.equal(cmapssColumns.length, 26);
  assert.equal(new Set(channels).size, 25);
  assert.deepEqual(
    channels.filter((channel) => !isChannelName(channel)),
    [],
  );
});

test('collectCmapss: a row becomes a snapshot of its engine', async (context) => {
  const items = await collected(collectCmapss(temporaryFile(context, `${first}\n${second}\n`)));
  const samples = samplesOf(items);
  assert.equal(items.length, 2);
  assert.deepEqual(
    samples.map((sample) => sample.device),
    ['1', '1'],
  );
  const snapshot = samples[1]?.snapshot;
  assert.equal(snapshot?.timeMs, cmapssStartMs + 2 * cmapssCycleMs);
  assert.equal(snapshot?.deviceType, 'CMAPSS');
  assert.equal(snapshot?.readings.length, 25);
  const reading = (channel: string) => snapshot?.readings.find((one) => one.channel === channel);
  assert.deepEqual(reading('counters.cycle'), { channel: 'counters.cycle', value: 2 });
  assert.deepEqual(reading('settings.altitude'), {
    channel: 'settings.altitude',
    unit: 'kft',
    value: 0.0019,
  });
  assert.deepEqual(reading('compressor.T24'), { channel: 'compressor.T24', unit: 'degR', value: 642.15 });
  assert.deepEqual(reading('bleed.W32'), { channel: 'bleed.W32', unit: 'lbm/s', value: 23.4236 });
});

test('collectCmapss: gzip is told by its first bytes, and gives the same', async (context) => {
  const text = `${manyRows(500).join('\n')}\n`;
  const plain = await collected(collectCmapss(temporaryFile(context, text)));
  const zipped = await collected(collectCmapss(temporaryFile(context, gzipSync(text))));
  assert.equal(plain.length, 500);
  assert.deepEqual(zipped, plain);
});

test('collectCmapss: a bad row is rejected with its line and reason, the rest goes on', async (context) => {
  const lines = [
    first,
    `${first.trim()} 7`,
    first.trim().split(' ').slice(0, 25).join(' '),
    '',
    first.replace('641.82', 'NaN'),
    first.replace('641.82', '0x10'),
    first.replace('641.82', '1e999'),
    first.replace('1 1 ', '1.5 1 '),
    first.replace('1 1 ', '1 0 '),
    second,
  ];
  const items = await collected(collectCmapss(temporaryFile(context, lines.join('\r\n'))));
  assert.deepEqual(
    rejectionsOf(items).map(({ line, reason }) => [line, reason]),
    [
      [2, 'column-count'],
      [3, 'column-count'],
      [5, 'not-a-number'],
      [6, 'not-a-number'],
      [7, 'not-a-number'],
      [8, 'bad-value'],
      [9, 'bad-value'],
    ],
  );
  assert.equal(samplesOf(items).length, 2);
  assert.match(rejectionsOf(items)[2]?.detail ?? '', /column 7 is "NaN"/);
});

test('collectCmapss: a truncated gzip gives every whole row before the cut, and one rejection', async (context) => {
  const zipped = gzipSync(`${manyRows(3000).join('\n')}\n`, { level: 9 });
  const headerBytes = 10;
  for (const cut of [
    headerBytes + 1,
    1000,
    60_001,
    Math.floor(zipped.length / 2),
    zipped.length - 9,
    zipped.length - 1,
  ]) {
    const items = await collected(collectCmapss(temporaryFile(context, zipped.subarray(0, cut))));
    const whole = inflateRawSync(zipped.subarray(headerBytes, cut), { finishFlush: constants.Z_SYNC_FLUSH });
    const expected = whole.toString().split('\n').length - 1;
    assert.equal(samplesOf(items).length, expected, `cut at byte ${cut}`);
    assert.deepEqual(
      rejectionsOf(items).map(({ line, reason }) => [line, reason]),
      [[expected + 1, 'truncated']],
      `cut at byte ${cut}`,
    );
  }
});

test('collectCmapss: a damaged gzip ends with one rejection', async (context) => {
  const zipped = gzipSync(`${manyRows(3000).join('\n')}\n`);
  zipped.fill(0xff, zipped.length >> 1, (zipped.length >> 1) + 64);
  const rejections = rejectionsOf(await collected(collectCmapss(temporaryFile(context, zipped))));
  assert.equal(rejections.at(-1)?.reason, 'damaged');
});

test('collectCmapss: a missing file is an error with a name', async () => {
  await assert.rejects(collected(collectCmapss('/nowhere/train.txt')), {
    code: 'collector.unreadable',
    message: /\/nowhere\/train\.txt/,
  });
});

test('collectCmapss: an empty file has no samples', async (context) => {
  assert.deepEqual(await collected(collectCmapss(temporaryFile(context, ''))), []);
});
