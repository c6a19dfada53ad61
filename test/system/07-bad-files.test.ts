/** Is everything good in a damaged recording stored, and the rest counted? And is a file that cannot be played one clear line? */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { constants, gunzipSync, gzipSync } from 'node:zlib';
import type { DemoSummary } from '../../cli/demo/summary.ts';
import { plombe } from './process.ts';

const directory = mkdtempSync(path.join(tmpdir(), 'plombe-bad-files-'));
const engines = 3;
const cycles = 20;

after(() => rmSync(directory, { recursive: true, force: true }));

function written(name: string, content: string | Uint8Array): string {
  const file = path.join(directory, name);
  writeFileSync(file, content);
  return file;
}

/** 26 columns: engine, cycle, three settings, 21 sensors. */
function cmapssRows(): string[] {
  return Array.from({ length: engines * cycles }, (_, index) => {
    const [engine, cycle] = [1 + Math.floor(index / cycles), 1 + (index % cycles)];
    const values = Array.from({ length: 24 }, (__, column) =>
      (column * 10 + Math.sin(index * column)).toFixed(4),
    );
    return [engine, cycle, ...values].join(' ');
  });
}

async function played(...args: readonly string[]): Promise<{ summary: DemoSummary; stderr: string }> {
  const { status, stdout, stderr } = await plombe('demo', '--json', '--replay', ...args);
  assert.equal(status, 0, stderr);
  return { summary: JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as DemoSummary, stderr };
}

test('plombe demo --replay: of a truncated file with bad rows, what is whole is stored and the rest counted', async () => {
  const rows = cmapssRows();
  rows.splice(2, 0, '1 2 3');
  rows.splice(5, 0, `1 5${' hot'.repeat(24)}`);
  rows.splice(7, 0, `${rows[0] ?? ''} 1`);
  const compressed = gzipSync(`${rows.join('\n')}\n`);
  const cut = compressed.subarray(0, Math.round(compressed.length * 0.8));
  const readable = gunzipSync(cut, { finishFlush: constants.Z_SYNC_FLUSH }).toString();
  const good = readable.split('\n').length - 1 - 3;
  assert.ok(good > 2 * cycles && good < engines * cycles, 'the cut is within the last engine');
  const { summary, stderr } = await played(written('cut.txt.gz', cut));
  assert.deepEqual(
    [summary.devices, summary.sealed, summary.stored, summary.lost, summary.duplicated, summary.rejected],
    [engines, good, good, 0, 0, 4],
    'three bad rows, and the one that the cut went through',
  );
  for (const [line, reason] of [
    [3, 'column-count'],
    [6, 'not-a-number'],
    [8, 'column-count'],
    [readable.split('\n').length, 'truncated'],
  ] as const) {
    const shown = stderr
      .split('\n')
      .filter((text) => text.startsWith(`cut.txt.gz line ${line} rejected ${reason} `));
    assert.equal(shown.length, 1, `line ${line} is shown, and once`);
  }
});

test('plombe demo --replay: of a CSV with bad rows, the good ones are stored and each bad one counted', async () => {
  const file = written(
    'machines.csv',
    [
      'time,machine,temperature [Cel],note',
      '2026-01-01T00:00:00Z,m1,20.5,"all, ""good"""',
      '2026-01-01T00:01:00Z,m1,hot,not a number',
      '2026-01-01T00:02:00Z,m2,21,"two',
      'lines"',
      'never,m2,22,no time',
      '2026-01-01T00:03:00Z,m2,23,"stray"quote',
      '2026-01-01T00:04:00Z,m2,24',
      '2026-01-01T00:05:00Z,m2,25,last',
      '',
    ].join('\r\n'),
  );
  const { summary, stderr } = await played(
    file,
    '--format',
    'csv',
    '--time-column',
    'time',
    '--device-column',
    'machine',
  );
  assert.deepEqual(
    [summary.devices, summary.sealed, summary.stored, summary.lost, summary.duplicated, summary.rejected],
    [2, 3, 3, 0, 0, 4],
  );
  for (const shown of [
    'line 3 rejected not-a-number',
    'line 6 rejected bad-time',
    'line 7 rejected bad-quotes',
  ])
    assert.ok(stderr.includes(`machines.csv ${shown}`), shown);
});

for (const [what, content, args, says] of [
  ['that is not there', undefined, [], /cannot replay \S+: no such file/],
  ['of random bytes', Buffer.alloc(3000, 'é\0\n'), [], /has no row that is a cmapss snapshot/],
  ['that is empty', '', [], /has no row that is a cmapss snapshot/],
  ['that is CSV and not C-MAPSS', 'a,b\n1,2\n', [], /has no row that is a cmapss snapshot/],
  ['that is empty and not CSV', '', ['--format', 'csv'], /has no header line/],
  [
    'that is C-MAPSS and not CSV',
    cmapssRows().join('\n'),
    ['--format', 'csv'],
    /header "1 1 .* names no channel/,
  ],
  [
    'without the column that is asked for',
    'a,b\n1,2\n',
    ['--format', 'csv', '--time-column', 'c'],
    /has no column "c"/,
  ],
] as const) {
  test(`plombe demo --replay: a file ${what} is one line, exit status 1, and nothing stays behind`, async () => {
    const temporary = mkdtempSync(path.join(directory, 'tmp-'));
    process.env['TMPDIR'] = temporary; // where a process that we start puts its folder
    const file = content === undefined ? path.join(directory, 'none.txt') : written('other.txt', content);
    const { status, stdout, stderr } = await plombe('demo', '--replay', file, ...args);
    assert.deepEqual([status, stdout], [1, '']);
    assert.match(stderr, /^plombe: .*\n$/);
    assert.match(stderr, says);
    assert.deepEqual(readdirSync(temporary), []);
  });
}
