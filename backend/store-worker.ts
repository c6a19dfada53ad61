/** The thread that stores; `store-thread.ts` starts it. */
import { parentPort, workerData } from 'node:worker_threads';
import type { StoreRequest, StoreSettings } from './store-messages.ts';
import { Storing } from './storing.ts';

const port = parentPort;
if (port === null) throw new Error('this is a thread of the backend');
const storing = new Storing(workerData as StoreSettings);
let turn: Promise<void> = Promise.resolve();
port.on('message', (request: StoreRequest | 'close') => {
  turn = turn.then(async () => {
    if (request !== 'close') return port.postMessage(await storing.answer(request), []);
    await storing.close();
    return port.close();
  });
});
