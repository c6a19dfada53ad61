/** Does every value arrive as it is in the file? Three engines of NASA's C-MAPSS FD002; `npm run soak -- recording` plays all. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { playRecordings } from '../../soak/recording.ts';

const recording = path.resolve(import.meta.dirname, '../../../shared/data/cmapss/train_FD002.txt.gz');
const enginesMax = 3;

test('agent, two brokers, backend: what was sealed is in the database, value by value', async (context) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'plombe-recording-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  const rows = gunzipSync(readFileSync(recording))
    .toString('latin1')
    .split('\n')
    .filter((line) => line !== '' && Number.parseInt(line, 10) <= enginesMax);
  const file = path.join(folder, 'some_of_FD002.txt.gz');
  writeFileSync(file, gzipSync(rows.join('\n')));
  const { violations, figures } = await playRecordings([file], () => undefined);
  assert.deepEqual(violations, []);
  const { engines, stored, values } = figures;
  assert.deepEqual([engines, stored, values], [enginesMax, rows.length, rows.length * 25]);
});
