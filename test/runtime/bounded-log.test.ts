import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BoundedLog } from '../../runtime/bounded-log.ts';
import { createLog } from '../../runtime/log.ts';

interface Line {
  readonly event: string;
  readonly [field: string]: unknown;
}

function open(linesPerSecondMax: number): { log: BoundedLog; lines: Line[]; setMs: (ms: number) => void } {
  const lines: Line[] = [];
  let nowMs = 5000;
  const log = new BoundedLog(
    createLog('test', 'debug', { write: (line) => void lines.push(JSON.parse(line) as Line) }),
    { linesPerSecondMax: () => linesPerSecondMax, monotonicMs: () => nowMs },
  );
  return { log, lines, setMs: (ms) => (nowMs = ms) };
}

test('BoundedLog: of a flood some lines are written each second, and then how many were not', () => {
  const { log, lines, setMs } = open(10);
  for (let index = 0; index < 1000; index++) {
    log.warn({ address: `10.0.0.${index}`, reason: 'tls' }, 'connection.refused');
  }
  assert.equal(lines.length, 10);
  setMs(5999);
  log.flush();
  assert.equal(lines.length, 10);
  setMs(6000);
  log.flush();
  assert.partialDeepStrictEqual(lines.at(-1), {
    event: 'log.lines_left_out',
    of: 'connection.refused',
    reason: 'tls',
    leftOut: 990,
  });
  log.warn({ address: '10.0.0.1', reason: 'tls' }, 'connection.refused');
  assert.equal(lines.length, 12);
  setMs(7000);
  log.flush();
  assert.equal(lines.length, 12);
});

test('BoundedLog: one that floods leaves the others their lines, one reason leaves another its own', () => {
  const { log, lines } = open(10);
  for (let index = 0; index < 100; index++) log.warn({ identity: 'loud', reason: 'x' }, 'publish.denied');
  for (const identity of ['a', 'b', 'c']) log.warn({ identity, reason: 'x' }, 'publish.denied');
  log.warn({ identity: 'loud', reason: 'y' }, 'publish.denied');
  log.error({ identity: 'loud', reason: 'x' }, 'store.failed');
  assert.deepEqual(
    lines.map(({ identity, reason, event }) => `${String(identity)} ${String(reason)} ${event}`),
    [
      'loud x publish.denied',
      'loud x publish.denied',
      'a x publish.denied',
      'b x publish.denied',
      'c x publish.denied',
      'loud y publish.denied',
      'loud x store.failed',
    ],
  );
});

test('BoundedLog: a child has its fields and its own bounds, and the level is the same for both', () => {
  const { log, lines, setMs } = open(5);
  const child = log.child({ part: 'cascade' });
  for (let index = 0; index < 20; index++) child.info({}, 'link.lost');
  for (let index = 0; index < 20; index++) log.info({}, 'link.lost');
  assert.equal(lines.length, 10);
  setMs(6000);
  log.flush();
  assert.partialDeepStrictEqual(lines.slice(10), [{ part: 'cascade', leftOut: 15 }, { leftOut: 15 }]);
  log.level = 'error';
  assert.equal(child.level, 'error');
  child.info({}, 'link.lost');
  assert.equal(lines.length, 12);
});
