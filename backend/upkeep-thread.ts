/** The upkeep of the database, as the main thread sees it. Each of several backends may have one: they do not collide. */
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import type { UpkeepPolicies } from '../database/upkeep.ts';
import type { Log } from '../runtime/log.ts';

export interface UpkeepSettings {
  /** Of the database. */
  readonly url: string;
  readonly policies: UpkeepPolicies;
}

const ownFile = path.join(import.meta.dirname, `upkeep-worker${path.extname(import.meta.filename)}`);
const closeTimeoutMs = 5000;
const restartMs = 60_000;

/** @returns stops it, after the step that it is in */
export function startUpkeep(settings: UpkeepSettings, log: Log): () => Promise<void> {
  let isStopping = false;
  let again: NodeJS.Timeout | undefined;
  let thread = start();

  function start(): Worker {
    const worker = new Worker(ownFile, { workerData: settings });
    const failed = (error: unknown): void => log.warn({ error: String(error) }, 'upkeep.failed');
    worker.on('message', failed);
    worker.once('error', failed);
    worker.once('exit', () => {
      if (!isStopping) again = setTimeout(() => (thread = start()), restartMs);
    });
    return worker;
  }

  return async () => {
    isStopping = true;
    clearTimeout(again);
    if (thread.threadId < 0) return; // it has ended
    const ended = new Promise((resolve) => thread.once('exit', resolve));
    const timer = setTimeout(() => void thread.terminate(), closeTimeoutMs);
    thread.postMessage('close', []);
    await ended;
    clearTimeout(timer);
  };
}
