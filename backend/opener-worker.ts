/** A thread that verifies and opens envelopes; `opener.ts` starts it. */
import { parentPort, workerData } from 'node:worker_threads';
import type { OpenerSettings, ToOpener } from './opener-messages.ts';
import { Opening } from './opening.ts';

const port = parentPort;
if (port === null) throw new Error('this is a thread of the backend');
const opening = new Opening(workerData as OpenerSettings, (answer) => port.postMessage(answer, []));
port.on('message', (message: ToOpener) => opening.take(message));
