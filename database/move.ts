/** The values of one database into another that keeps them in the other form, a device after the other. */
import type { Database } from './connect.ts';
import { DatabaseError } from './errors.ts';
import { snapshotsPerRun } from './retention.ts';
import { inSnapshot, inTransaction } from './statements.ts';
import type { Statements } from './statements.ts';
import { placeColumns } from './storage.ts';
import type { DevicePlace, Storage, WholeSnapshot } from './storage.ts';
import { storageOf } from './storage-of.ts';

/** In the target, until the copy is whole: how far it is. */
export const moveTable = 'copy_place';

/** So many snapshots, each of hundreds of values, are in memory at a time. */
const snapshotsPerLoad = 1024;
const everythingMs = 8.64e15;

const moveSql = {
  devices: `select ${placeColumns('d')} from device d where d.id >= ? order by d.id limit 1`,
  count: 'select count(*) as n from device',
  place: `select device_id, after_ms from ${moveTable}`,
  forget: `delete from ${moveTable}`,
  note: `insert into ${moveTable} (device_id, after_ms) values (?, ?)`,
} as const;

interface Place {
  readonly device_id: number;
  readonly after_ms: number;
}

/** Goes on where an earlier call was cut off. The target has every other table already. */
export async function moveValues(
  source: Database,
  target: Database,
  onProgress: (devices: number, devicesTotal: number) => void,
): Promise<void> {
  const from = await storageOf(source);
  const to = await storageOf(target);
  if (from === to) throw new DatabaseError('database.conflict', `both keep their values as ${to.form}`);
  const [total] = await inSnapshot(source, (one) => one.all<{ n: number }>(moveSql.count, []));
  let place = await readPlace(target);
  for (let devices = 0; ; devices++) {
    const deviceId = place.device_id;
    const [device] = await inSnapshot(source, (one) => one.all<DevicePlace>(moveSql.devices, [deviceId]));
    if (device === undefined) return;
    const afterMs = device.id === place.device_id ? place.after_ms : -everythingMs;
    await moveDevice(source, from, target, to, device, afterMs);
    place = { device_id: device.id + 1, after_ms: -everythingMs };
    onProgress(devices + 1, total?.n ?? 0);
  }
}

async function readPlace(target: Database): Promise<Place> {
  // On MySQL a table is made outside of any transaction.
  await inTransaction(target, (statements) =>
    statements.run(
      `create table if not exists ${moveTable} (device_id bigint not null primary key, after_ms bigint not null)`,
      [],
    ),
  );
  const [place] = await inSnapshot(target, (statements) => statements.all<Place>(moveSql.place, []));
  return place ?? { device_id: 0, after_ms: -everythingMs };
}

async function moveDevice(
  source: Database,
  from: Storage,
  target: Database,
  to: Storage,
  device: DevicePlace,
  startMs: number,
): Promise<void> {
  const channelIds = await inSnapshot(source, (one) => from.readChannelIds(one, device.id));
  const thinned = await inSnapshot(source, (one) => from.readThinned(one, device.id));
  let newest: WholeSnapshot | undefined;
  for (let afterMs = startMs; afterMs < everythingMs;) {
    const snapshots: WholeSnapshot[] = [];
    // What is thinned and what is whole do not come into one run.
    const toMs = thinned !== undefined && afterMs < thinned.untilMs ? thinned.untilMs : everythingMs;
    while (afterMs < toMs && snapshots.length < snapshotsPerLoad) {
      const fromMs = afterMs + 1;
      const piece = await inSnapshot(source, (one) =>
        from.readPiece(one, device, { fromMs, toMs }, channelIds),
      );
      snapshots.push(...piece.snapshots);
      afterMs = piece.untilMs;
    }
    newest = snapshots.find(({ sequence }) => sequence === device.latest_sequence) ?? newest;
    const rest = snapshots.filter(({ sequence }) => sequence !== device.latest_sequence);
    const isThinned = thinned !== undefined && afterMs <= thinned.untilMs;
    await inTransaction(target, async (statements) => {
      for (const run of runsOf(rest, snapshotsPerRun[target.engine]))
        await to.load(statements, device.id, run, isThinned ? thinned : undefined);
      await notePlace(statements, { device_id: device.id, after_ms: afterMs });
    });
  }
  const last = newest ?? (await findNewest(source, from, device, channelIds));
  await inTransaction(target, async (statements) => {
    await to.finishLoad(statements, device.id, last);
    await notePlace(statements, { device_id: device.id + 1, after_ms: -everythingMs });
  });
}

/** It was passed before the copy was cut off. */
async function findNewest(
  source: Database,
  from: Storage,
  device: DevicePlace,
  channelIds: readonly number[],
): Promise<WholeSnapshot | undefined> {
  const { last_snapshot_ms: timeMs } = device;
  if (timeMs === null) return undefined;
  const { snapshots } = await inSnapshot(source, (one) =>
    from.readPiece(one, device, { fromMs: timeMs, toMs: timeMs }, channelIds),
  );
  return snapshots.find(({ sequence }) => sequence === device.latest_sequence);
}

function* runsOf(snapshots: readonly WholeSnapshot[], runSize: number): Generator<readonly WholeSnapshot[]> {
  for (let at = 0; at < snapshots.length; at += runSize) yield snapshots.slice(at, at + runSize);
}

async function notePlace(statements: Statements, { device_id, after_ms }: Place): Promise<void> {
  await statements.run(moveSql.forget, []);
  await statements.run(moveSql.note, [device_id, after_ms]);
}
