/**
 * As the backend's own thread, but for four payloads: `DIE`, `HANG`, `DIE ONCE file`, which dies unless the file is there, and
 * `WAIT file`, which waits until it is.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import type { OpenerSettings, ToOpener } from '../../backend/opener-messages.ts';
import { Opening } from '../../backend/opening.ts';

const port = parentPort;
if (port === null) throw new Error('this is a thread of a test');
const opening = new Opening(workerData as OpenerSettings, (answer) => port.postMessage(answer, []));
port.on('message', (message: ToOpener) => {
  if (message.kind === 'open') for (const payload of payloadsOf(message)) obey(payload);
  opening.take(message);
});

function payloadsOf({ parts, octets }: Extract<ToOpener, { kind: 'open' }>): string[] {
  return parts.map(({ end }, index) =>
    Buffer.from(octets.subarray(parts[index - 1]?.end ?? 0, end)).toString('latin1'),
  );
}

function obey(payload: string): void {
  if (payload === 'DIE') throw new Error('this envelope is deadly');
  if (payload === 'HANG') for (;;);
  const awaited = /^WAIT (.*)$/.exec(payload)?.[1];
  if (awaited !== undefined) waitFor(awaited);
  const file = /^DIE ONCE (.*)$/.exec(payload)?.[1];
  if (file === undefined || existsSync(file)) return;
  writeFileSync(file, '');
  throw new Error('an accident');
}

function waitFor(file: string): void {
  const never = new Int32Array(new SharedArrayBuffer(4));
  while (!existsSync(file)) Atomics.wait(never, 0, 0, 10);
}
