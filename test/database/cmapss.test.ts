/** Do NASA's recordings come back from the database as they are in the files? C-MAPSS FD001 and FD002, 74,390 cycles. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { Database } from '../../database/connect.ts';
import { createIngest } from '../../database/ingest.ts';
import type { Arrival } from '../../database/ingest.ts';
import { exportDevice } from '../../database/export.ts';
import { createUpkeep } from '../../database/upkeep.ts';
import { freshDatabase, testForms } from './engines.ts';
import { digestOf } from './arrivals.ts';

const folder = path.resolve(import.meta.dirname, '../../../shared/data/cmapss');
const startMs = Date.UTC(2008, 9, 6);
const cycleMs = 6 * 3_600_000;
const batchSize = 2000;
const channels = Array.from({ length: 24 }, (_, index) => `column.${String(index + 3).padStart(2, '0')}`);

/** Engine → its rows as the file has them, cut at blanks, in the order of cycles. */
function readRecording(name: string): Map<string, string[][]> {
  const engines = new Map<string, string[][]>();
  for (const line of gunzipSync(readFileSync(path.join(folder, `train_${name}.txt.gz`)))
    .toString('latin1')
    .split('\n')) {
    const fields = line.trim().split(/\s+/);
    const [engine = ''] = fields;
    const rows = engines.get(engine);
    if (rows !== undefined) rows.push(fields);
    else if (engine !== '') engines.set(engine, [fields]);
  }
  return engines;
}

function arrivalOf(device: string, fields: readonly string[]): Arrival {
  const sequence = Number(fields[1]);
  const timeMs = startMs + sequence * cycleMs;
  return {
    device,
    sequence,
    digest: digestOf(device, sequence),
    signer: Buffer.alloc(32, 7),
    receivedMs: timeMs + 50,
    snapshot: {
      timeMs,
      deviceType: 'CMAPSS',
      readings: channels.map((channel, index) => ({ channel, value: Number(fields[index + 2]) })),
    },
  };
}

async function replay(
  database: Database,
  name: string,
  engines: ReadonlyMap<string, string[][]>,
): Promise<void> {
  const ingest = createIngest(database);
  const all = [...engines].flatMap(([engine, rows]) =>
    rows.map((fields) => arrivalOf(`nasa/${name}/e-${engine}`, fields)),
  );
  for (let at = 0; at < all.length; at += batchSize) {
    const { outcomes } = await ingest.storeBatch(all.slice(at, at + batchSize));
    assert.ok(outcomes.every(({ outcome }) => outcome === 'stored'));
  }
}

/** FD001 has zeros with a sign, which stays. */
function shown(field: string): string {
  return Object.is(Number(field), -0) ? '-0' : String(Number(field));
}

for (const [name, rowCount] of [
  ['FD001', 20_631],
  ['FD002', 53_759],
] as const) {
  testForms(`exportDevice: every value of ${name} is what the file says`, async (context, engine, form) => {
    const database = await freshDatabase(context, engine, form);
    const engines = readRecording(name);
    await replay(database, name, engines);
    const upkeep = createUpkeep(database);
    while (await upkeep.step(startMs));
    let compared = 0;
    for (const [number, rows] of engines) {
      const found: string[] = [];
      for await (const text of exportDevice(database, `nasa/${name}/e-${number}`)) found.push(text);
      const [header = '', ...lines] = found.join('').trimEnd().split('\r\n');
      assert.equal(header, ['time', 'sequence', ...channels].join(','));
      assert.equal(lines.length, rows.length);
      for (const [index, fields] of rows.entries()) {
        const wanted = [
          new Date(startMs + Number(fields[1]) * cycleMs).toISOString(),
          ...fields.slice(1).map(shown),
        ];
        assert.equal(lines[index], wanted.join(','));
        compared += 1;
      }
    }
    assert.equal(compared, rowCount);
  });
}
