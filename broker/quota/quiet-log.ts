/** A log for what a peer can cause at any rate: the first lines, then one a second, which says how many there were. */
import type { Log } from '../../runtime/log.ts';
import { TokenBucket } from './token-bucket.ts';

/** And ten of them before (`burstSeconds`). */
const linesPerSecond = 1;

export class QuietLog {
  readonly #log: Log;
  readonly #monotonicMs: () => number;
  #bucket: TokenBucket | undefined;
  #unsaid = 0;

  constructor(log: Log, monotonicMs: () => number) {
    this.#log = log;
    this.#monotonicMs = monotonicMs;
  }

  warn(fields: Readonly<Record<string, unknown>>, event: string): void {
    const nowMs = this.#monotonicMs();
    this.#bucket ??= new TokenBucket(linesPerSecond, nowMs);
    if (!this.#bucket.take(linesPerSecond, nowMs)) {
      this.#unsaid++;
      return;
    }
    this.#log.warn(this.#unsaid === 0 ? fields : { ...fields, unsaid: this.#unsaid }, event);
    this.#unsaid = 0;
  }
}
