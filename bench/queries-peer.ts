/** The literature's layout beside ours: fewer values, because with 34 million its questions take minutes. */
import type { Database } from '../database/connect.ts';
import { inTransaction } from '../database/statements.ts';
import { openLayoutA } from './layout-a.ts';
import type { LayoutA } from './layout-a.ts';
import { engineNames } from './engines.ts';
import { inBatches } from './batches.ts';
import { figureLine } from './figures.ts';
import { millionsText, msText, pick, points, timed, timesText } from './queries-ask.ts';
import { Progress } from './progress.ts';
import { readOnce } from './queries-place.ts';
import type { Place } from './queries-place.ts';
import {
  channelsOfMachine,
  endMs,
  machinePath,
  machines,
  measuredChannels,
  seeded,
  startMs,
  telemetry,
  usualMax,
} from './telemetry.ts';

/** @param oursValues - what follows the number of rows is estimated for as many */
export async function onPeer(place: Place, values: number, asks: number, oursValues: number): Promise<void> {
  const { database } = place;
  const each = Math.round(values / channelsOfMachine / machines);
  const stored = each * machines * channelsOfMachine;
  console.log(`\n${engineNames[database.engine]}, ${millionsText(stored)} values, layout A`);
  const isBuilt = await hasPeer(database);
  const layout = await openLayoutA(database);
  if (!isBuilt) await build(layout, each);
  if (database.engine === 'sqlite')
    await database.exclusively((raw) => raw.exec('pragma wal_checkpoint(truncate); pragma optimize'));
  else {
    await database.pool.promise().query('analyze table a_snapshot, a_value');
    await readOnce(database, 'a_value', 'text_value');
  }
  console.log(figureLine('bytes per value on disk', (place.bytes() / stored).toFixed(2)));
  await ask(layout, each, Math.max(5, Math.round(asks / 10)), oursValues / stored);
}

async function build(layout: LayoutA, each: number): Promise<void> {
  const progress = new Progress(each * machines);
  for (const batch of inBatches(telemetry(each))) {
    await layout.store(batch);
    progress.add(batch.length);
  }
  progress.end();
}

async function hasPeer(database: Database): Promise<boolean> {
  try {
    const rows = await inTransaction(database, (statements) =>
      statements.all('select id from a_snapshot limit 1', []),
    );
    return rows.length > 0;
  } catch {
    return false; // no such table
  }
}

async function ask(layout: LayoutA, snapshots: number, asks: number, times: number): Promise<void> {
  const random = seeded(7);
  const machine = (): string => machinePath(Math.floor(random() * machines));
  const channel = (): string => pick(measuredChannels, random);
  const question = async (name: string, isLinear: boolean, answer: () => Promise<unknown>): Promise<void> => {
    const taken = await timed(answer, asks);
    const estimate =
      isLinear && times !== 1 ? `its rows × ${times.toFixed(0)}: about ${msText(taken.p95 * times)}` : '';
    console.log(figureLine(name, timesText(taken), estimate));
  };
  await question(`latest values of a device (${channelsOfMachine})`, false, () => layout.latest(machine()));
  await question(`a channel, a year, ${points} points`, true, () =>
    layout.series(machine(), channel(), startMs, endMs(snapshots), points),
  );
  await question('exceeded ever (few devices did)', true, () => layout.exceededEver(channel(), usualMax));
}
