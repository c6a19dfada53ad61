/**
 * The thread that stores, as the main thread sees it. A call that is not answered because the thread died, or because the
 * database says nothing any more, is unavailable like a database that is away, and may be made again.
 */
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import type { StoreAnswer, StoreRequest, StoreSettings } from './store-messages.ts';

export interface StoreThreadOptions {
  readonly settings: StoreSettings;
  readonly onDeath: (fault: string) => void;
  readonly answerTimeoutMs?: number;
}

/** Longer than SQLite waits for another's lock, and MySQL for a connection. */
const answerTimeoutMsDefault = 90_000;
const closeTimeoutMs = 5000;
const ownFile = path.join(import.meta.dirname, `store-worker${path.extname(import.meta.filename)}`);

export class StoreThread {
  readonly #options: StoreThreadOptions;
  #thread: Worker | undefined;
  #waiting: ((answer: StoreAnswer) => void)[] = [];

  constructor(options: StoreThreadOptions) {
    this.#options = options;
  }

  async call(request: StoreRequest): Promise<StoreAnswer> {
    const thread = (this.#thread ??= this.#start());
    const timer = setTimeout(
      () => void thread.terminate(),
      this.#options.answerTimeoutMs ?? answerTimeoutMsDefault,
    );
    try {
      return await new Promise((resolve) => {
        this.#waiting.push(resolve);
        thread.postMessage(request, []);
      });
    } finally {
      clearTimeout(timer);
    }
  }

  /** Waits for what is running. */
  async close(): Promise<void> {
    const thread = this.#thread;
    if (thread === undefined) return;
    const ended = new Promise((resolve) => thread.once('exit', resolve));
    const timer = setTimeout(() => void thread.terminate(), closeTimeoutMs);
    thread.postMessage('close', []);
    await ended;
    clearTimeout(timer);
  }

  #start(): Worker {
    const thread = new Worker(ownFile, { workerData: this.#options.settings });
    let fault = '';
    thread.on('message', (answer: StoreAnswer) => this.#waiting.shift()?.(answer));
    thread.once('error', (error) => (fault = String(error)));
    thread.once('exit', () => {
      this.#thread = undefined;
      const unanswered = this.#waiting;
      this.#waiting = [];
      if (unanswered.length === 0 && fault === '') return;
      this.#options.onDeath(fault);
      for (const resolve of unanswered) {
        resolve({ kind: 'unavailable', fault: 'failing', detail: `the thread that stores ended: ${fault}` });
      }
    });
    return thread;
  }
}
