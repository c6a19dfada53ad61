/** Storing snapshots: a whole batch in one transaction, each snapshot once. */
import type { Snapshot } from '../domain/snapshot.ts';
import { Catalogue } from './catalogue.ts';
import type { CatalogueLimits, CatalogueRefusal } from './catalogue.ts';
import { noteChangeBy } from './changes.ts';
import type { ChangeName } from './changes.ts';
import type { Database } from './connect.ts';
import { loadDevices, saveDevices } from './device-state.ts';
import type { DeviceState } from './device-state.ts';
import { encodeValues } from './head.ts';
import { findGap, keepGaps, raiseAlarm } from './sequence.ts';
import { inTransaction } from './statements.ts';
import type { SqlValue, Statements } from './statements.ts';
import type { NewSnapshot, Storage } from './storage.ts';
import { storageFor, storageSql } from './storage-of.ts';
import type { StorageRow } from './storage-of.ts';

/** What the channels of a snapshot are, for as long as `epoch` stands for their type. */
export interface Resolution {
  readonly typeId: number;
  readonly epoch: number;
  /** In the order of the readings. */
  readonly channelIds: readonly number[];
}

/** A snapshot whose channels were resolved with one before it: `payload` is what `encodePairs` made of its values. */
export interface EncodedSnapshot extends Omit<Resolution, 'channelIds'> {
  readonly timeMs: number;
  readonly payload: Uint8Array;
}

/** Thrown for a whole batch if the catalogue has changed since a snapshot in it was encoded: it must come as it is. */
export class StaleEncoding extends Error {
  override readonly name = 'StaleEncoding';
}

/** An envelope that was verified and opened. */
export interface Arrival {
  /** The device's path. */
  readonly device: string;
  readonly sequence: number;
  /** Of the envelope. */
  readonly digest: Uint8Array;
  /** Of the device's envelope before it, as this one states it. */
  readonly previousDigest?: Uint8Array;
  /** SHA-256 of the certificate that signed it. */
  readonly signer: Uint8Array;
  readonly receivedMs: number;
  /** Absent, like `encoded`, for what is no snapshot, such as a command's result: it takes a sequence all the same. */
  readonly snapshot?: Snapshot;
  /** In the place of `snapshot`. */
  readonly encoded?: EncodedSnapshot;
  /** As it came, if it is to be kept as evidence. */
  readonly envelope?: Uint8Array;
}

export type ArrivalRefusal =
  CatalogueRefusal | 'bad_sequence' | 'dropped_already' | 'time_out_of_range' | 'store_failed'; // the last one: the database refused it for good

export type StoreOutcome =
  | { readonly outcome: 'stored' }
  | { readonly outcome: 'duplicate' } // the same envelope again
  | { readonly outcome: 'equivocation' } // another envelope with a sequence that was used
  | { readonly outcome: 'refused'; readonly reason: ArrivalRefusal };

export interface BatchResult {
  /** In the order of the arrivals. */
  readonly outcomes: readonly StoreOutcome[];
  /** Device path → how many snapshots it has now, for those that got one. */
  readonly stored: ReadonlyMap<string, number>;
  readonly changed: ReadonlySet<ChangeName>;
  /** How many values had another kind than their channel had before: they are stored, and the channel changes. */
  readonly kindChanges: number;
  /** What is known now of the channels of those that came as `snapshot` and were stored. */
  readonly resolved: ReadonlyMap<Arrival, Resolution>;
  /** Counts the batches that the database ever took; fewer than before if it was restored. */
  readonly batches: number;
}

export interface Ingest {
  /**
   * Stores what is new, in one transaction. When it resolves, everything is on disk; when it rejects, nothing is.
   * One call at a time.
   */
  storeBatch(arrivals: readonly Arrival[]): Promise<BatchResult>;
}

/** Before this, a device's clock was never set. */
const timeMinMs = Date.UTC(2000, 0, 1);
/** How far a device's clock may be ahead: simulators run fast, a wrong century does not pass. */
const timeAheadMsMax = 366 * 24 * 3600 * 1000;

interface Batch {
  readonly devices: ReadonlyMap<string, DeviceState>;
  /** Of this batch, so that a repetition within it is seen: `deviceId:sequence` → digest. */
  readonly digests: Map<string, Uint8Array>;
  readonly snapshots: SqlValue[][];
  readonly others: SqlValue[][];
  readonly evidence: SqlValue[][];
  readonly values: NewSnapshot[];
  readonly resolved: Map<Arrival, Resolution>;
  readonly touched: Set<DeviceState>;
  readonly stored: Set<DeviceState>;
  readonly changed: Set<ChangeName>;
}

export function createIngest(database: Database, limits?: CatalogueLimits): Ingest {
  const catalogue = new Catalogue(limits);
  let batches = 0;
  return {
    storeBatch: async (arrivals) => {
      try {
        return await inTransaction(database, async (statements) => {
          const before = batches;
          const turn = await takeTurn(statements);
          batches = turn.batches;
          // It was restored meanwhile: what is remembered of it may not be there.
          if (batches <= before) catalogue.forget();
          const channelChanges = catalogue.channelChanges;
          const result = await store(statements, storageFor(turn.form), catalogue, arrivals, batches);
          if (catalogue.channelChanges === channelChanges) return result;
          await noteChangeBy(statements, database.engine, 'channels');
          return { ...result, changed: new Set([...result.changed, 'channels'] as const) };
        });
      } catch (error) {
        catalogue.forget();
        throw error;
      }
    },
  };
}

/** Whoever stores waits here for the others, so that snapshot ids are committed in their order. */
async function takeTurn(statements: Statements): Promise<StorageRow> {
  await statements.run('update ingest_turn set batches = batches + 1 where id = 1', []);
  const [turn] = await statements.all<StorageRow>(storageSql, []);
  if (turn === undefined) throw new Error('the database does not say how its values rest');
  return turn;
}

async function store(
  statements: Statements,
  storage: Storage,
  catalogue: Catalogue,
  arrivals: readonly Arrival[],
  batches: number,
): Promise<BatchResult> {
  const kindChangesBefore = catalogue.kindChanges;
  const paths = [...new Set(arrivals.map(({ device }) => device))];
  const batch: Batch = {
    devices: await loadDevices(statements, paths, arrivals[0]?.receivedMs ?? 0),
    digests: new Map(),
    snapshots: [],
    others: [],
    evidence: [],
    values: [],
    resolved: new Map(),
    touched: new Set(),
    stored: new Set(),
    changed: new Set(),
  };
  const outcomes: StoreOutcome[] = [];
  for (const arrival of arrivals) outcomes.push(await place(statements, catalogue, batch, arrival));
  await statements.insertMany(
    'snapshot',
    ['device_id', 'sequence', 'time_ms', 'received_ms', 'digest', 'signer'],
    batch.snapshots,
  );
  await statements.insertMany(
    'other_envelope',
    ['device_id', 'sequence', 'received_ms', 'digest'],
    batch.others,
  );
  await statements.insertMany(
    'evidence',
    ['device_id', 'sequence', 'received_ms', 'envelope'],
    batch.evidence,
  );
  await storage.store(statements, batch.values);
  await saveDevices(statements, [...batch.touched]);
  return {
    outcomes,
    stored: new Map(Array.from(batch.stored, (device) => [device.path, device.stored])),
    changed: batch.changed,
    resolved: batch.resolved,
    kindChanges: catalogue.kindChanges - kindChangesBefore,
    batches,
  };
}

async function place(
  statements: Statements,
  catalogue: Catalogue,
  batch: Batch,
  arrival: Arrival,
): Promise<StoreOutcome> {
  const device = batch.devices.get(arrival.device);
  if (device === undefined) throw new Error(`device ${arrival.device} was not loaded`);
  const { sequence, snapshot, encoded, receivedMs } = arrival;
  const { timeMs } = snapshot ?? encoded ?? {};
  if (!Number.isSafeInteger(sequence) || sequence < 1) return { outcome: 'refused', reason: 'bad_sequence' };
  if (timeMs !== undefined && !isPlausible(timeMs, receivedMs)) {
    return { outcome: 'refused', reason: 'time_out_of_range' };
  }
  const digest =
    sequence > device.last_sequence ? undefined : await digestOf(statements, batch, device, sequence);
  if (digest !== undefined) return repeat(statements, batch, device, arrival, digest);
  if (sequence <= device.last_sequence && (await wasDropped(statements, device, sequence)))
    return { outcome: 'refused', reason: 'dropped_already' };
  if (encoded !== undefined && catalogue.epochOf(encoded.typeId) !== encoded.epoch) throw new StaleEncoding();
  const resolved = snapshot && (await catalogue.resolve(statements, snapshot, receivedMs));
  if (resolved !== undefined && 'refused' in resolved)
    return { outcome: 'refused', reason: resolved.refused };
  await checkChain(statements, batch, device, arrival);
  if (await keepGaps(statements, device, sequence, receivedMs)) batch.changed.add('gaps');
  batch.digests.set(`${device.id}:${sequence}`, arrival.digest);
  if (sequence > device.last_sequence) {
    device.last_sequence = sequence;
    device.last_digest = arrival.digest;
  }
  if (snapshot !== undefined && resolved !== undefined) {
    const { typeId, epoch, channelIds, values } = resolved;
    batch.resolved.set(arrival, { typeId, epoch, channelIds });
    const payload = encodeValues(channelIds, values);
    addSnapshot(batch, device, arrival, { typeId, epoch, timeMs: snapshot.timeMs, payload });
  } else if (encoded !== undefined) {
    addSnapshot(batch, device, arrival, encoded);
  } else {
    batch.others.push([device.id, sequence, receivedMs, arrival.digest]);
  }
  if (arrival.envelope !== undefined)
    batch.evidence.push([device.id, sequence, receivedMs, arrival.envelope]);
  batch.touched.add(device);
  return { outcome: 'stored' };
}

function isPlausible(timeMs: number, receivedMs: number): boolean {
  return timeMs >= timeMinMs && timeMs <= receivedMs + timeAheadMsMax;
}

function addSnapshot(
  batch: Batch,
  device: DeviceState,
  { sequence, receivedMs, digest, signer }: Arrival,
  { timeMs, typeId, payload }: EncodedSnapshot,
): void {
  batch.snapshots.push([device.id, sequence, timeMs, receivedMs, digest, signer]);
  device.stored += 1;
  batch.values.push({ device, ordinal: device.stored, sequence, timeMs, payload });
  device.received_ms = receivedMs;
  if (sequence > device.latest_sequence) {
    device.latest_sequence = sequence;
    device.last_snapshot_ms = timeMs;
    device.device_type_id = typeId;
  }
  batch.stored.add(device);
}

async function digestOf(
  statements: Statements,
  batch: Batch,
  device: DeviceState,
  sequence: number,
): Promise<Uint8Array | undefined> {
  const here = batch.digests.get(`${device.id}:${sequence}`);
  if (here !== undefined) return here;
  const [row] = await statements.all<{ digest: Uint8Array }>(
    `select digest from snapshot where device_id = ? and sequence = ?
     union all select digest from other_envelope where device_id = ? and sequence = ?`,
    [device.id, sequence, device.id, sequence],
  );
  return row?.digest;
}

/** What retention dropped would otherwise be taken for late; what never came is in a gap, whatever was dropped behind it. */
async function wasDropped(statements: Statements, { id }: DeviceState, sequence: number): Promise<boolean> {
  const rows = await statements.all('select device_id from dropped where device_id = ? and sequence >= ?', [
    id,
    sequence,
  ]);
  return rows.length > 0 && (await findGap(statements, id, sequence)) === undefined;
}

async function repeat(
  statements: Statements,
  batch: Batch,
  device: DeviceState,
  arrival: Arrival,
  storedDigest: Uint8Array,
): Promise<StoreOutcome> {
  if (Buffer.compare(storedDigest, arrival.digest) === 0) {
    device.redelivered += 1;
    batch.touched.add(device);
    return { outcome: 'duplicate' };
  }
  const alarm = {
    kind: 'equivocation' as const,
    sequence: arrival.sequence,
    storedDigest,
    otherDigest: arrival.digest,
  };
  if (await raiseAlarm(statements, device, alarm, arrival.receivedMs)) batch.changed.add('alarms');
  return { outcome: 'equivocation' };
}

/** The next envelope states the digest of the one before; if that is not the one we have, there were two of them. */
async function checkChain(
  statements: Statements,
  batch: Batch,
  device: DeviceState,
  arrival: Arrival,
): Promise<void> {
  const { last_digest: lastDigest } = device;
  if (
    arrival.sequence !== device.last_sequence + 1 ||
    arrival.previousDigest === undefined ||
    lastDigest === null
  )
    return;
  if (Buffer.compare(lastDigest, arrival.previousDigest) === 0) return;
  const alarm = {
    kind: 'chain_broken' as const,
    sequence: device.last_sequence,
    storedDigest: lastDigest,
    otherDigest: arrival.previousDigest,
  };
  if (await raiseAlarm(statements, device, alarm, arrival.receivedMs)) batch.changed.add('alarms');
}
