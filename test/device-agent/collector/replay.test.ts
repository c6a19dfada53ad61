import assert from 'node:assert/strict';
import test from 'node:test';
import { replay } from '../../../device-agent/collector/replay.ts';
import type { ReplaySpeed } from '../../../device-agent/collector/replay.ts';
import { collected, rejectionsOf, samplesOf, temporaryFile } from './files.ts';

const text = 'machine,level\na,1\na,2\na,3\nb,4\nb\nc,5\n';
const assign = (machine: string) => ({ a: 'ms/acc/a', b: 'ms/acc/b' })[machine];

function replayed(
  file: string,
  speed: ReplaySpeed,
  clock: () => number,
  wait: (delayMs: number) => Promise<boolean>,
) {
  const csv = { deviceType: 'T', deviceColumn: 'machine' };
  return collected(replay({ format: 'csv', file, csv }, speed, assign, () => false, clock, wait));
}

const never = (): never => assert.fail('nothing to wait for');
const played = (items: Awaited<ReturnType<typeof replayed>>) =>
  samplesOf(items).map(({ device, snapshot }) => [device, snapshot.readings[0]?.value]);

test('replay: at max speed the order is the file’s, and machines of nobody are left out', async (context) => {
  const items = await replayed(temporaryFile(context, text), 'max', () => 0, never);
  assert.deepEqual(played(items), [
    ['ms/acc/a', 1],
    ['ms/acc/a', 2],
    ['ms/acc/a', 3],
    ['ms/acc/b', 4],
  ]);
  assert.deepEqual(
    rejectionsOf(items).map(({ line, reason }) => [line, reason]),
    [[6, 'column-count']],
  );
});

test('replay: at a pace the machines run side by side', async (context) => {
  let nowMs = 0;
  const wait = (delayMs: number): Promise<boolean> => {
    nowMs += delayMs;
    return Promise.resolve(true);
  };
  const items = await replayed(temporaryFile(context, text), 2, () => nowMs, wait);
  assert.deepEqual(played(items), [
    ['ms/acc/a', 1],
    ['ms/acc/b', 4],
    ['ms/acc/a', 2],
    ['ms/acc/a', 3],
  ]);
  assert.equal(nowMs, 1000); // three rounds of half a second, the last of which begins after one
});

test('replay: at a pace it stops when told to', async (context) => {
  const items = await replayed(
    temporaryFile(context, text),
    1,
    () => 0,
    () => Promise.resolve(false),
  );
  assert.equal(samplesOf(items).length, 1);
});
