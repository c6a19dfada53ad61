/** A log that a flood of one kind of event cannot fill: some lines a second of each kind, and how many were left out. */
import type { Log } from './log.ts';

export interface BoundedLogOptions {
  /** Of one event with one reason; a fifth of it for one identity, or one address that shows none. */
  readonly linesPerSecondMax: () => number;
  /** Milliseconds that never go back. */
  readonly monotonicMs: () => number;
}

/** What one second has seen of one event with one reason. */
interface Tally {
  readonly event: string;
  readonly reason: unknown;
  written: number;
  leftOut: number;
  /** Never more than lines were written. */
  readonly writtenOf: Map<unknown, number>;
}

export class BoundedLog implements Log {
  readonly #log: Log;
  readonly #options: BoundedLogOptions;
  readonly #children: BoundedLog[] = [];
  #tallies = new Map<string, Tally>();
  #second = 0;

  constructor(log: Log, options: BoundedLogOptions) {
    this.#log = log;
    this.#options = options;
  }

  get level(): string {
    return this.#log.level;
  }

  set level(level: string) {
    this.#log.level = level;
  }

  debug(fields: object, event: string): void {
    if (this.#admits(fields, event)) this.#log.debug(fields, event);
  }

  info(fields: object, event: string): void {
    if (this.#admits(fields, event)) this.#log.info(fields, event);
  }

  warn(fields: object, event: string): void {
    if (this.#admits(fields, event)) this.#log.warn(fields, event);
  }

  error(fields: object, event: string): void {
    if (this.#admits(fields, event)) this.#log.error(fields, event);
  }

  child(fields: object): BoundedLog {
    const child = new BoundedLog(this.#log.child(fields), this.#options);
    this.#children.push(child);
    return child;
  }

  /** Says what was left out of a second that is over. Called every second, for a flood may end as it began. */
  flush(): void {
    const second = Math.floor(this.#options.monotonicMs() / 1000);
    for (const child of this.#children) child.flush();
    if (second === this.#second) return;
    this.#second = second;
    const tallies = this.#tallies;
    this.#tallies = new Map();
    for (const { event, reason, leftOut } of tallies.values()) {
      if (leftOut > 0) this.#log.warn({ of: event, reason, leftOut }, 'log.lines_left_out');
    }
  }

  #admits(fields: object, event: string): boolean {
    this.flush();
    const { reason, identity, address } = fields as Readonly<Record<string, unknown>>;
    const key = `${event} ${String(reason)}`;
    let tally = this.#tallies.get(key);
    if (tally === undefined) {
      tally = { event, reason, written: 0, leftOut: 0, writtenOf: new Map() };
      this.#tallies.set(key, tally);
    }
    const linesMax = this.#options.linesPerSecondMax();
    const who = identity ?? address;
    const writtenOf = tally.writtenOf.get(who) ?? 0;
    const isShareUsed = who !== undefined && writtenOf >= Math.max(1, linesMax / 5);
    if (tally.written >= linesMax || isShareUsed) {
      tally.leftOut++;
      return false;
    }
    tally.written++;
    tally.writtenOf.set(who, writtenOf + 1);
    return true;
  }
}
