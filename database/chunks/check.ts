/** Whether a device's chunks and its newest snapshots fit together. */
import { addToZone, decodeZone } from './zone.ts';
import type { Statistics, Zone } from './zone.ts';
import { decodeColumn, decodeIntegers } from '../payload.ts';
import type { Statements } from '../statements.ts';
import { statisticsOf } from './chunk.ts';
import { readSealedChannels } from './rewrite.ts';

interface Device {
  readonly id: number;
  readonly stored: number;
  readonly latest_sequence: number;
  readonly latest_ordinal: number;
  readonly head_count: number;
  readonly zone_ordinal: number;
}

interface HeadRow {
  readonly ordinal: number;
  readonly sequence: number;
  readonly payload: Uint8Array;
}

interface Run {
  readonly t0: number;
  readonly t1: number;
  readonly sealing: number;
  readonly n: number;
  readonly times: Uint8Array;
  readonly sequences: Uint8Array;
}

interface ChunkRow {
  readonly t0: number;
  readonly sealing: number;
  readonly n: number;
  readonly vmin: number | null;
  readonly vmax: number | null;
  readonly vsum: number | null;
  readonly vlast: number | null;
  readonly data: Uint8Array;
}

type Say = (fault: string) => void;

const sumTolerance = 1e-9;

const chunkCheckSql = {
  device: `select id, device.stored, latest_sequence, latest_ordinal, head_count, zone_ordinal from device where id = ?`,
  heads: 'select ordinal, sequence, payload from head where device_id = ? order by ordinal',
  zone: 'select data from open_zone where device_id = ?',
  runs: 'select t0, t1, sealing, n, times, sequences from chunk_time where device_id = ? order by t0, sealing',
  chunks:
    'select t0, sealing, n, vmin, vmax, vsum, vlast, data from chunk where device_id = ? and channel_id = ?',
} as const;

/** @returns the sequences of the snapshots that rest */
export async function check(statements: Statements, deviceId: number, say: Say): Promise<number[]> {
  const heads = await statements.all<HeadRow>(chunkCheckSql.heads, [deviceId]);
  const runs = await statements.all<Run>(chunkCheckSql.runs, [deviceId]);
  const [device] = await statements.all<Device>(chunkCheckSql.device, [deviceId]);
  if (device !== undefined) {
    checkHeads(device, heads, say);
    const [zone] = await statements.all<{ data: Uint8Array }>(chunkCheckSql.zone, [deviceId]);
    attempt('its newest snapshots', () => checkZone(zone?.data, device, heads, say), say);
  }
  for (const run of runs) attempt(`the times of sealing ${run.sealing}`, () => checkRun(run, say), say);
  await checkChunks(statements, deviceId, runs, say);
  return [
    ...heads.map(({ sequence }) => sequence),
    ...runs.flatMap(
      (run) =>
        attempt(`the sequences of sealing ${run.sealing}`, () => decodeIntegers(run.sequences), say) ?? [],
    ),
  ];
}

/** @returns undefined for what cannot even be decoded, which is a fault like any other */
function attempt<T>(what: string, decode: () => T, say: Say): T | undefined {
  try {
    return decode();
  } catch (error) {
    say(`${what} cannot be decoded: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

function checkHeads(device: Device, heads: readonly HeadRow[], say: Say): void {
  if (device.head_count !== heads.length)
    say(`counts ${device.head_count} newest snapshots and has ${heads.length}`);
  if (device.stored === 0) return;
  const latest = heads.find(({ ordinal }) => ordinal === device.latest_ordinal);
  if (latest?.sequence !== device.latest_sequence)
    say(`its latest snapshot, ${device.latest_sequence}, is not whole`);
}

function checkZone(data: Uint8Array | undefined, device: Device, heads: readonly HeadRow[], say: Say): void {
  const found = data === undefined ? new Map<number, Statistics>() : measured(decodeZone(data));
  const all: Zone = new Map();
  for (const { ordinal, payload } of heads) if (ordinal <= device.zone_ordinal) addToZone(all, payload);
  const wanted = measured(all);
  const isRight =
    found.size === wanted.size &&
    [...wanted].every(([channelId, { n, min, max, sum }]) => {
      const zone = found.get(channelId);
      if (zone === undefined || zone.n !== n || zone.min !== min || zone.max !== max) return false;
      return zone.sum === sum || Math.abs(zone.sum - sum) <= sumTolerance * (Math.abs(sum) + 1);
    });
  if (!isRight) say('the statistics of its newest snapshots are not theirs');
}

/** Zones of earlier versions have no channels of texts. */
function measured(zone: Zone): Zone {
  return new Map([...zone].filter(([, { n }]) => n > 0));
}

function checkRun({ t0, t1, sealing, n, times, sequences }: Run, say: Say): void {
  const offsets = decodeIntegers(times);
  const isRising = offsets.every((offset, index) => offset >= (offsets[index - 1] ?? 0));
  const isRight =
    offsets.length === n && decodeIntegers(sequences).length === n && t0 + (offsets.at(-1) ?? 0) === t1;
  if (!isRising || !isRight) say(`the times of sealing ${sealing} are not right`);
}

async function checkChunks(
  statements: Statements,
  id: number,
  runs: readonly Run[],
  say: Say,
): Promise<void> {
  const lengths = new Map(runs.map(({ t0, sealing, n }) => [`${t0}/${sealing}`, n]));
  for (const channelId of await readSealedChannels(statements, id)) {
    for (const row of await statements.all<ChunkRow>(chunkCheckSql.chunks, [id, channelId])) {
      const length = lengths.get(`${row.t0}/${row.sealing}`);
      const name = `the chunk of channel ${channelId} in sealing ${row.sealing}`;
      if (length === undefined) {
        say(`${name} has no times`);
        continue;
      }
      const values = attempt(name, () => decodeColumn(row.data), say);
      if (values === undefined) continue;
      if (values.length !== length) say(`${name} has ${values.length} values, wanted ${length}`);
      const stated = [row.n, row.vmin, row.vmax, row.vsum, row.vlast];
      // Compared by ===, because a database may take the sign from a zero.
      if (!statisticsOf(values).every((value, index) => value === stated[index]))
        say(`${name} states other values than it has`);
    }
  }
}
