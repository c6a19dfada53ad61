/** The thread that keeps the values in order while others are stored: with a connection of its own, a step at a time. */
import { setTimeout as sleep } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { connectDatabase } from '../database/connect.ts';
import type { Database } from '../database/connect.ts';
import { createUpkeep } from '../database/upkeep.ts';
import type { Upkeep } from '../database/upkeep.ts';
import type { UpkeepSettings } from './upkeep-thread.ts';

/** After a round in which there was nothing more to do. */
const roundMs = 60_000;
/** It rests as long as it worked, so that ingest has the processor. */
const restShare = 1;

const { url, policies } = workerData as UpkeepSettings;
const port = parentPort;
if (port === null) throw new Error('this is a thread of the backend');
const ended = new AbortController();
port.on('message', () => ended.abort());

let database: Database | undefined;
let upkeep: Upkeep | undefined;
do {
  const startedMs = performance.now();
  let isMore = false;
  try {
    // A file that was moved away is waited for: another in its place would be taken for it.
    database ??= await connectDatabase(url, { mustExist: true });
    upkeep ??= createUpkeep(database, policies);
    isMore = await upkeep.step(Date.now());
  } catch (error) {
    port.postMessage(String(error), []); // gone, locked or full: the next round tries again
  }
  const restMs = isMore ? (performance.now() - startedMs) * restShare : roundMs;
  await sleep(restMs, undefined, { signal: ended.signal }).catch(() => undefined);
} while (!ended.signal.aborted);
await database?.close();
port.close();
