/** A log that a test reads, and waits for. */
import { createLog } from '../../runtime/log.ts';
import type { Log } from '../../runtime/log.ts';

export interface LogRecord {
  readonly event: string;
  readonly [field: string]: unknown;
}

export class RecordedLog {
  readonly records: LogRecord[] = [];
  #wake = Promise.withResolvers<void>();
  readonly log: Log = createLog('test', 'debug', {
    write: (line) => {
      this.records.push(JSON.parse(line) as LogRecord);
      this.#wake.resolve();
      this.#wake = Promise.withResolvers();
    },
  });

  /** Waits until what was logged so far satisfies `enough`. */
  async until(enough: (records: readonly LogRecord[]) => boolean): Promise<void> {
    while (!enough(this.records)) await this.#wake.promise;
  }

  /** The first record of that event, past or to come. */
  async event(event: string, matches: (record: LogRecord) => boolean = () => true): Promise<LogRecord> {
    for (;;) {
      const found = this.records.find((record) => record.event === event && matches(record));
      if (found !== undefined) return found;
      await this.#wake.promise;
    }
  }
}
