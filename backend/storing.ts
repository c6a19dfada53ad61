/** What the thread that stores does: one request after the other, on a connection of its own. */
import { mkdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ChangeName } from '../database/changes.ts';
import { finishCommand } from '../database/commands.ts';
import { connectDatabase } from '../database/connect.ts';
import type { Database } from '../database/connect.ts';
import { storeDeadLetters } from '../database/dead-letters.ts';
import { DatabaseError, faultOf, isRefusal } from '../database/errors.ts';
import { purgeEvidence, purgedMax } from '../database/evidence.ts';
import { createIngest, StaleEncoding } from '../database/ingest.ts';
import type { Arrival, BatchResult, Ingest, StoreOutcome } from '../database/ingest.ts';
import { inSnapshot } from '../database/statements.ts';
import { writeFileAtomically } from '../runtime/files.ts';
import type { StoredEvent } from './feed.ts';
import { unpackArrivals } from './packed-arrivals.ts';
import type { KnownLayout, Unpacked } from './packed-arrivals.ts';
import type { Restored, StoreAnswer, Stored, StoreRequest, StoreSettings } from './store-messages.ts';

interface Connection {
  readonly database: Database;
  readonly ingest: Ingest;
  /** Which file it is, on SQLite. */
  readonly inode: number | undefined;
}

/** How many batches a database had taken, and when. */
interface Mark {
  readonly batches: number;
  readonly seenMs: number;
}

const markName = 'database-mark.json';
/**
 * SQLite has one lock for whoever writes, and no queue for it: between two batches it is free for so long that others, who ask
 * every 2 ms (`database/sqlite-dialect.ts`), get it also while envelopes come without end.
 */
const lockFreeMs = 3;
/** How often it is noted how far the database is. */
const noteEveryMs = 5000;

export class Storing {
  readonly #settings: StoreSettings;
  readonly #markFile: string;
  #connection: Connection | undefined;
  /** How far the database was. */
  #seen: Mark;
  #notedMs: number;
  #committedMs = 0;

  constructor(settings: StoreSettings) {
    this.#settings = settings;
    this.#markFile = path.join(settings.directory, markName);
    this.#seen = readMark(this.#markFile);
    this.#notedMs = this.#seen.seenMs;
  }

  async answer(request: StoreRequest): Promise<StoreAnswer> {
    try {
      const connection = (this.#connection ??= await this.#connect());
      const answer = await this.#perform(connection, request);
      // Without this, what is written into a file that was moved away or replaced would be acknowledged, and gone.
      this.#requireSameFile();
      return answer;
    } catch (error) {
      // What it says to everything alike, such as that a right is missing, is waited for too.
      const fault = faultOf(error) ?? (isRefusal(error) ? undefined : 'failing');
      if (fault === undefined) throw error;
      if (fault === 'gone') await this.close();
      return { kind: 'unavailable', fault, detail: String(error) };
    }
  }

  async close(): Promise<void> {
    const connection = this.#connection;
    this.#connection = undefined;
    this.#note();
    await connection?.database.close().catch(() => undefined); // it is gone
  }

  #perform(connection: Connection, request: StoreRequest): Promise<StoreAnswer> {
    if (request.kind === 'store')
      return this.#leaveLock(connection).then(() =>
        this.#store(connection, request.packed.flatMap(unpackArrivals), request.nowMs),
      );
    if (request.kind === 'purge') return this.#purge(connection, request.nowMs);
    if (request.kind === 'look') return look(connection.database);
    return storeDeadLetters(connection.database, request.letters).then((dropped) => ({
      kind: 'kept',
      dropped,
    }));
  }

  async #leaveLock({ inode }: Connection): Promise<void> {
    const waitMs = this.#committedMs + lockFreeMs - performance.now();
    if (inode !== undefined && waitMs > 0) await sleep(waitMs);
  }

  async #purge({ database }: Connection, nowMs: number): Promise<StoreAnswer> {
    const { evidenceMs } = this.#settings;
    if (evidenceMs === undefined) return { kind: 'purged', isDone: true };
    return { kind: 'purged', isDone: (await purgeEvidence(database, nowMs - evidenceMs)) < purgedMax };
  }

  async #connect(): Promise<Connection> {
    const { url } = this.#settings;
    const inode = inodeOf(url);
    // SQLite would make a new one.
    if (inode === 0) throw new DatabaseError('database.unavailable', 'the file is not there');
    const database = await connectDatabase(url, { connectionsMax: 2, mustExist: true });
    return { database, ingest: createIngest(database), inode };
  }

  #requireSameFile(): void {
    const connection = this.#connection;
    const inode = inodeOf(this.#settings.url);
    if (connection?.inode === undefined || connection.inode === inode) return;
    if (inode === 0) throw new DatabaseError('database.unavailable', 'the file was moved away');
    throw new DatabaseError('database.replaced', 'the file is not the one that was opened');
  }

  async #store(
    { database, ingest }: Connection,
    unpacked: readonly Unpacked[],
    nowMs: number,
  ): Promise<Stored> {
    const startMs = performance.now();
    const { arrivals, result, faults } = await storeOrSplit(ingest, unpacked);
    this.#committedMs = performance.now();
    const seconds = (this.#committedMs - startMs) / 1000;
    const finished: string[] = [];
    for (const [index, { arrival, result: answer }] of unpacked.entries()) {
      const outcome = result.outcomes[index]?.outcome;
      // Also for a repetition: the program may have been killed between the two commits.
      if (answer === undefined || (outcome !== 'stored' && outcome !== 'duplicate')) continue;
      if (await finishCommand(database, arrival.device, answer, nowMs)) finished.push(answer.outcome);
    }
    return {
      kind: 'stored',
      outcomes: result.outcomes,
      events: eventsOf(arrivals, result),
      changed: result.changed,
      kindChanges: result.kindChanges,
      finished,
      learnt: learntFrom(unpacked, arrivals, result),
      seconds,
      faults,
      restored: this.#noteBatches(result.batches, nowMs),
    };
  }

  #noteBatches(batches: number, nowMs: number): Restored | undefined {
    const before = this.#seen;
    this.#seen = { batches, seenMs: nowMs };
    const isRestored = batches <= before.batches;
    if (isRestored || nowMs - this.#notedMs >= noteEveryMs) this.#note();
    if (!isRestored) return undefined;
    return { batchesMissing: before.batches - batches + 1, seenMs: before.seenMs };
  }

  /** The note may lag behind the database, and never runs ahead of it. */
  #note(): void {
    if (this.#seen.seenMs === 0) return;
    this.#notedMs = this.#seen.seenMs;
    mkdirSync(this.#settings.directory, { recursive: true });
    writeFileAtomically(this.#markFile, JSON.stringify(this.#seen));
  }
}

interface StoredBatch {
  readonly arrivals: readonly Arrival[];
  readonly result: Omit<BatchResult, 'resolved'> & Partial<Pick<BatchResult, 'resolved'>>;
  readonly faults: readonly string[];
}

/** A batch that the database refuses for good is stored one by one, so that one bad row does not stop the rest. */
async function storeOrSplit(ingest: Ingest, unpacked: readonly Unpacked[]): Promise<StoredBatch> {
  try {
    return await storeAll(ingest, unpacked);
  } catch (error) {
    if (!isRefusal(error)) throw error;
  }
  const arrivals: Arrival[] = [];
  const outcomes: StoreOutcome[] = [];
  const stored = new Map<string, number>();
  const changed = new Set<ChangeName>();
  const faults: string[] = [];
  let kindChanges = 0;
  let batches = Infinity;
  for (const one of unpacked) {
    const arrival = one.whole();
    arrivals.push(arrival);
    try {
      const result = await ingest.storeBatch([arrival]);
      outcomes.push(...result.outcomes);
      for (const [device, count] of result.stored) stored.set(device, count);
      for (const what of result.changed) changed.add(what);
      kindChanges += result.kindChanges;
      batches = result.batches;
    } catch (error) {
      if (!isRefusal(error)) throw error;
      faults.push(`${arrival.device}: ${String(error)}`);
      outcomes.push({ outcome: 'refused', reason: 'store_failed' });
    }
  }
  return { arrivals, result: { outcomes, stored, changed, kindChanges, batches }, faults };
}

async function storeAll(ingest: Ingest, unpacked: readonly Unpacked[]): Promise<StoredBatch> {
  const arrivals = unpacked.map(({ arrival }) => arrival);
  try {
    return { arrivals, result: await ingest.storeBatch(arrivals), faults: [] };
  } catch (error) {
    if (!(error instanceof StaleEncoding)) throw error;
  }
  const whole = unpacked.map((one) => one.whole());
  return { arrivals: whole, result: await ingest.storeBatch(whole), faults: [] };
}

function learntFrom(
  unpacked: readonly Unpacked[],
  arrivals: readonly Arrival[],
  { resolved }: StoredBatch['result'],
): readonly KnownLayout[] {
  const learnt = new Map<string, KnownLayout>();
  for (const [index, arrival] of arrivals.entries()) {
    const resolution = resolved?.get(arrival);
    const key = unpacked[index]?.layoutKey;
    if (resolution !== undefined && key !== undefined) learnt.set(key, { ...resolution, key });
  }
  return [...learnt.values()];
}

/** @returns of each device that has news, its newest */
function eventsOf(arrivals: readonly Arrival[], { stored }: StoredBatch['result']): readonly StoredEvent[] {
  const events = new Map<string, StoredEvent>();
  for (const { device, sequence, snapshot, encoded } of arrivals) {
    const count = stored.get(device);
    const before = events.get(device);
    const { timeMs } = snapshot ?? encoded ?? {};
    if (timeMs === undefined || count === undefined || (before?.sequence ?? 0) > sequence) continue;
    events.set(device, { path: device, sequence, timeMs, stored: count });
  }
  return [...events.values()];
}

async function look(database: Database): Promise<StoreAnswer> {
  await inSnapshot(database, (one) => one.all('select batches from ingest_turn where id = 1', []));
  return { kind: 'done' };
}

function inodeOf(url: string): number | undefined {
  const file = url.startsWith('sqlite:') ? url.slice('sqlite:'.length) : ':memory:';
  return file === ':memory:' ? undefined : (statSync(file, { throwIfNoEntry: false })?.ino ?? 0);
}

function readMark(file: string): Mark {
  const none = { batches: 0, seenMs: 0 };
  let mark: unknown;
  try {
    mark = JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return none; // never noted, or cut short: then nothing can be said about the past
  }
  if (typeof mark !== 'object' || mark === null || !('batches' in mark) || !('seenMs' in mark)) return none;
  const { batches, seenMs } = mark;
  return typeof batches === 'number' && typeof seenMs === 'number' ? { batches, seenMs } : none;
}
