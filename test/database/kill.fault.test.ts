import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';
import { connectDatabase } from '../../database/connect.ts';
import { inTransaction } from '../../database/statements.ts';
import { countSnapshots } from '../../database/totals.ts';
import { freshUrl, testBoth } from './engines.ts';

const writer = path.join(import.meta.dirname, 'ingest-writer.ts');
const devices = ['a/b/c-1', 'a/b/c-2'];
const batchSize = 23;

/** Starts a writer at `from`, kills it after so many acknowledgements, and returns the last one that it gave. */
function writeAndKill(url: string, from: number, acknowledgements: number): Promise<number> {
  const child = spawn(process.execPath, [writer, url, devices.join(','), String(from), String(batchSize)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    if (text.split('\n').length > acknowledgements) child.kill('SIGKILL');
  });
  return new Promise((resolve, reject) => {
    child.once('close', (_code, signal) => {
      const last = text.trim().split('\n').at(-1);
      if (signal !== 'SIGKILL' || last === undefined) reject(new Error('the writer ended by itself'));
      else resolve(Number(last));
    });
  });
}

testBoth(
  'storeBatch: killed at any moment, all that was acknowledged is there, each once',
  async (context, engine) => {
    const url = await freshUrl(context, engine);
    let acknowledged = 0;
    // The last kills come while 256 snapshots are being sealed, too.
    for (const acknowledgements of [1, 4, 7, 3, 9, 5]) {
      // As a broker would, begin again well before what was acknowledged.
      const from = Math.max(1, acknowledged - 40);
      acknowledged = Math.max(acknowledged, await writeAndKill(url, from, acknowledgements));
    }
    const database = await connectDatabase(url);
    context.after(() => database.close());
    // The server may still be committing for the one that was killed: whoever stores has this turn until that is done.
    await inTransaction(database, (statements) =>
      statements.run('update ingest_turn set batches = batches', []),
    );
    const { stored, duplicated } = await countSnapshots(database, '');
    assert.equal(duplicated, 0);
    for (const device of devices) {
      const rows = await database.kysely
        .selectFrom('v_value')
        .select(['sequence', 'number_value'])
        .where('device', '=', device)
        .orderBy('sequence')
        .execute();
      assert.ok(rows.length >= acknowledged);
      // Every sequence from the first, once, with its value: nothing between two transactions is missing.
      assert.deepEqual(
        rows,
        rows.map((_, index) => ({ sequence: index + 1, number_value: (index + 1) / 3 })),
      );
      assert.equal(rows.length, stored / devices.length);
    }
    const states = await database.kysely
      .selectFrom('device')
      .select(['stored', 'head_count', 'last_sequence'])
      .execute();
    const heads = await database.kysely.selectFrom('head').select('ordinal').execute();
    for (const state of states)
      assert.deepEqual([state.stored, state.last_sequence], [stored / 2, stored / 2]);
    assert.equal(
      heads.length,
      states.reduce((sum, state) => sum + state.head_count, 0),
    );
  },
);
