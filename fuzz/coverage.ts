/** Which code of some folders has run, block by block, as V8 counts it in this process. */
import { Session } from 'node:inspector';
import type { Profiler } from 'node:inspector';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const root = pathToFileURL(path.resolve(import.meta.dirname, '..')).href;

export class BlockCoverage {
  readonly #session = new Session();
  readonly #watched: readonly string[];
  /** By file: one octet a character, 1 if it has run. */
  readonly #reached = new Map<string, Uint8Array>();
  /** Characters that the last look added. */
  readonly #last: { readonly all: Uint8Array; readonly at: number }[] = [];
  /** Where blocks begin, by file: all that V8 ever told apart. */
  readonly #blocks = new Map<string, Set<number>>();

  /** @param folders - of the repository */
  constructor(folders: readonly string[]) {
    this.#watched = folders.map((folder) => `${root}/${folder}/`);
  }

  /** To be called before the code is imported, so that nothing escapes. */
  start(): void {
    this.#session.connect();
    this.#session.post('Profiler.enable');
    this.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  }

  stop(): void {
    this.#session.disconnect();
  }

  /** @returns whether anything has run since the last call that had not run before it */
  grew(): boolean {
    let grew = false;
    this.#last.length = 0;
    this.#session.post('Profiler.takePreciseCoverage', (error, taken) => {
      if (error !== null) throw new Error(`no coverage: ${error.message}`);
      for (const script of taken.result) {
        if (this.#watched.some((folder) => script.url.startsWith(folder)) && this.#add(script)) grew = true;
      }
    });
    return grew;
  }

  /** Takes back what the last call to `grew` added, so that it can be found again, input by input. */
  forgetLast(): void {
    for (const { all, at } of this.#last) all[at] = 0;
    this.#last.length = 0;
  }

  get blocks(): { readonly reached: number; readonly known: number } {
    let [reached, known] = [0, 0];
    for (const [url, starts] of this.#blocks) {
      const characters = this.#reached.get(url);
      known += starts.size;
      for (const start of starts) reached += characters?.[start] ?? 0;
    }
    return { reached, known };
  }

  #add({ url, functions }: Profiler.ScriptCoverage): boolean {
    const ranges = functions.flatMap((one) => one.ranges);
    const end = Math.max(...ranges.map(({ endOffset }) => endOffset));
    const now = new Uint8Array(end);
    const blocks = this.#blocks.get(url) ?? new Set();
    this.#blocks.set(url, blocks);
    // Outer ranges come first, and an inner one that did not run comes as long as its outer one did.
    for (const { startOffset, endOffset, count } of ranges) {
      now.fill(Math.min(count, 1), startOffset, endOffset);
      blocks.add(startOffset);
    }
    const before = this.#reached.get(url) ?? new Uint8Array(0);
    const all = before.length < end ? new Uint8Array(end) : before;
    if (all !== before) all.set(before);
    this.#reached.set(url, all);
    let grew = false;
    for (let at = 0; at < end; at++) {
      if (now[at] === 1 && all[at] === 0) {
        all[at] = 1;
        this.#last.push({ all, at });
        grew = true;
      }
    }
    return grew;
  }
}
