/** A log that a test reads, and waits for. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createLog } from '../../runtime/log.ts';
import type { Log } from '../../runtime/log.ts';

const patienceMs = 90_000;
const shownMax = 40;

export interface LogRecord {
  readonly event: string;
  readonly [field: string]: unknown;
}

export class RecordedLog {
  readonly records: LogRecord[] = [];
  #wake = Promise.withResolvers<void>();
  readonly log: Log = createLog('test', 'debug', { write: (line) => this.add(line) });

  /** @param line - JSON, as a program writes it */
  add(line: string): void {
    this.records.push(JSON.parse(line) as LogRecord);
    this.#wake.resolve();
    this.#wake = Promise.withResolvers();
  }

  /** Waits until what was logged so far satisfies `enough`. */
  async until(enough: (records: readonly LogRecord[]) => boolean): Promise<void> {
    while (!enough(this.records)) await this.#next('what a test waits for');
  }

  /** The first record of that event, past or to come. */
  async event(event: string, matches: (record: LogRecord) => boolean = () => true): Promise<LogRecord> {
    for (;;) {
      const found = this.records.find((record) => record.event === event && matches(record));
      if (found !== undefined) return found;
      await this.#next(event);
    }
  }

  /** @param wanted - for whoever waits in vain */
  async #next(wanted: string): Promise<void> {
    const over = new AbortController();
    const late = sleep(patienceMs, 'late' as const, { signal: over.signal, ref: false }).catch(
      () => undefined,
    );
    const next = await Promise.race([this.#wake.promise, late]);
    over.abort();
    if (next !== 'late') return;
    const last = this.records.slice(-shownMax).map((record) => JSON.stringify(record));
    throw new Error(`nothing was logged for ${patienceMs} ms, ${wanted} did not come:\n${last.join('\n')}`);
  }
}
