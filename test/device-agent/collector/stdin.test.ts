import assert from 'node:assert/strict';
import test from 'node:test';
import { collectJsonLines } from '../../../device-agent/collector/stdin.ts';
import { parseDevicePath } from '../../../domain/namespace.ts';
import { collected, rejectionsOf, samplesOf } from './files.ts';

const device = parseDevicePath('ms-acc-1/acc-1/dev-1') ?? assert.fail();
const options = { device, deviceType: 'TANK' };

async function* bytesOf(text: string): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += 5) yield bytes.subarray(at, at + 5);
}

const read = (text: string) => collected(collectJsonLines(bytesOf(text), options, () => 1234));

test('collectJsonLines: a plain object is a snapshot', async () => {
  const [dated] = samplesOf(await read('{"a.b": "x", "time": "2026-01-01T00:00:00Z"}\n'));
  assert.deepEqual(dated?.snapshot, {
    timeMs: Date.UTC(2026, 0, 1),
    deviceType: 'TANK',
    readings: [{ channel: 'a.b', value: 'x' }],
  });
  const [now] = samplesOf(await read('{"temperature": 21.5, "ok": true}'));
  assert.deepEqual(now?.snapshot, {
    timeMs: 1234,
    deviceType: 'TANK',
    readings: [
      { channel: 'temperature', value: 21.5 },
      { channel: 'ok', value: true },
    ],
  });
});

test('collectJsonLines: a SenML pack is a snapshot', async () => {
  const pack = [{ bn: `${device}:`, bt: 1_760_000_000, n: 'temperature', u: 'Cel', v: 21.5 }];
  const [sample] = samplesOf(await read(JSON.stringify(pack)));
  assert.deepEqual(sample?.snapshot, {
    timeMs: 1_760_000_000_000,
    deviceType: 'TANK',
    readings: [{ channel: 'temperature', unit: 'Cel', value: 21.5 }],
  });
});

test('collectJsonLines: a bad line is rejected with its number and reason, the rest goes on', async () => {
  const lines = [
    '{',
    '7',
    'null',
    '{"time": 1760000000}',
    '{"time": "soon", "a": 1}',
    '{"a b": 1}',
    '{"a": {"b": 1}}',
    '{"a": 1e999}',
    '[{"n": "other/acc/dev:x", "v": 1, "t": 1760000000}]',
    '',
    '{"a": 1}',
  ];
  const items = await read(lines.join('\n'));
  assert.deepEqual(
    rejectionsOf(items).map(({ line, reason }) => [line, reason]),
    [
      [1, 'not-json'],
      [2, 'not-json'],
      [3, 'not-json'],
      [4, 'no-values'],
      [5, 'bad-time'],
      [6, 'bad-channel'],
      [7, 'bad-value'],
      [8, 'bad-value'],
      [9, 'not-senml'],
    ],
  );
  assert.equal(samplesOf(items).length, 1);
});
