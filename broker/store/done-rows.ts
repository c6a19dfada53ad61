/** Rows that nobody needs any more, collected to runs: a queue is acknowledged in its order, so a whole run goes in one statement. */

/** Both ends included. */
interface Run {
  from: number;
  to: number;
}

export class DoneRows {
  readonly #onRun: (run: Run) => void;
  #run: Run | undefined;

  /** @param onRun - deletes the rows of a run */
  constructor(onRun: (run: Run) => void) {
    this.#onRun = onRun;
  }

  get isSome(): boolean {
    return this.#run !== undefined;
  }

  add(row: number): void {
    if (this.#run !== undefined && row === this.#run.to + 1) {
      this.#run.to = row;
      return;
    }
    this.flush();
    this.#run = { from: row, to: row };
  }

  flush(): void {
    const run = this.#run;
    this.#run = undefined;
    if (run !== undefined) this.#onRun(run);
  }
}
