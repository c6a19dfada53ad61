/** Tells of gaps and of numbers that were used twice as they are noticed: they are rows that the thread which stores has added. */
import { newestAlarm, readAlarmsAfter } from '../database/alarms.ts';
import type { ChangeName } from '../database/changes.ts';
import type { Database } from '../database/connect.ts';
import { countOpenGaps, newestGap, readGapsAfter } from '../database/gaps.ts';
import { errorText } from '../domain/error-text.ts';
import type { Log } from '../runtime/log.ts';
import type { Feed } from './feed.ts';
import type { BackendMeasures } from './measures.ts';

export interface SequenceWatchOptions {
  readonly database: Database;
  readonly feed: Feed;
  readonly measures: Pick<BackendMeasures, 'gaps' | 'gapsOpen' | 'alarms'>;
  readonly log: Log;
}

export class SequenceWatch {
  readonly #options: SequenceWatchOptions;
  readonly #end: () => void;
  /** Rows that were told already. */
  #gap = 0;
  #alarm = 0;
  #reading: Promise<void>;
  /** More has changed since it was read. */
  #isBehind = false;

  /** Tells what is noticed from now on. */
  constructor(options: SequenceWatchOptions) {
    this.#options = options;
    this.#reading = this.#attempt(() => this.#begin());
    this.#end = options.feed.listen({
      stored: () => undefined,
      changed: (what) => this.#changed(what),
    });
  }

  async stop(): Promise<void> {
    this.#end();
    await this.#reading;
  }

  #changed(what: ChangeName): void {
    if (what !== 'gaps' && what !== 'alarms') return;
    if (this.#isBehind) return;
    this.#isBehind = true;
    this.#reading = this.#reading.then(() => this.#attempt(() => this.#tell()));
  }

  async #begin(): Promise<void> {
    const { database, measures } = this.#options;
    this.#gap = await newestGap(database);
    this.#alarm = await newestAlarm(database);
    measures.gapsOpen.set(await countOpenGaps(database));
  }

  async #tell(): Promise<void> {
    const { database, measures, log } = this.#options;
    this.#isBehind = false;
    for (const { id, path, fromSequence, toSequence } of await readGapsAfter(database, this.#gap)) {
      measures.gaps.inc();
      log.warn({ device: path, from: fromSequence, to: toSequence }, 'gap.noticed');
      this.#gap = id;
    }
    for (const { id, path, kind, sequence } of await readAlarmsAfter(database, this.#alarm)) {
      measures.alarms.inc({ kind });
      log.error({ device: path, kind, sequence }, 'alarm.raised');
      this.#alarm = id;
    }
    measures.gapsOpen.set(await countOpenGaps(database));
  }

  /** The database may be away for a while; the next change tells it. */
  async #attempt(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#isBehind = false;
      this.#options.log.warn({ error: errorText(error) }, 'sequences.not_read');
    }
  }
}
