/** The whole state as one file, from the active node to one that cannot follow the log from where it is. */
import {
  createReadStream,
  createWriteStream,
  existsSync,
  fsyncSync,
  openSync,
  closeSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { BrokerError } from '../errors.ts';
import type { Channel } from './channel.ts';
import { storeFileName } from './replica.ts';

const worker = path.join(import.meta.dirname, `snapshot-worker${path.extname(import.meta.filename)}`);
/** The length of the file comes first, so that one cut short is known as such. */
const lengthBytes = 8;

/**
 * Copies the state and sends it; closes the channel at the end.
 *
 * @returns the bytes of the file
 */
export async function sendSnapshot(directory: string, channel: Channel): Promise<number> {
  const file = path.join(directory, `${storeFileName}.outgoing-${channel.id}`);
  rmSync(file, { force: true });
  try {
    await copyState(path.join(directory, storeFileName), file);
    const bytes = statSync(file).size;
    await sendFile(file, bytes, channel);
    return bytes;
  } finally {
    rmSync(file, { force: true });
  }
}

function copyState(source: string, target: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const thread = new Worker(worker, { workerData: { source, target } });
    thread.once('error', reject);
    thread.once('exit', (status) =>
      status === 0 ? resolve() : reject(new Error(`the copy ended with ${status}`)),
    );
  });
}

function sendFile(file: string, bytes: number, channel: Channel): Promise<void> {
  return new Promise((resolve, reject) => {
    const stream = createReadStream(file);
    const fail = (error: Error): void => {
      channel.destroy();
      reject(error);
    };
    channel.start({
      onBytes: () => undefined,
      onDrain: () => stream.resume(),
      onFault: () => undefined,
      onError: () => undefined,
      onClose: () => {
        stream.destroy();
        resolve();
      },
    });
    const length = Buffer.alloc(lengthBytes);
    length.writeBigUInt64BE(BigInt(bytes));
    channel.write(length);
    stream.on('data', (chunk) => {
      if (!channel.write(Buffer.from(chunk))) stream.pause();
    });
    stream.once('error', fail);
    stream.once('end', () => channel.finish());
  });
}

/**
 * Receives a snapshot next to the node's copy; `installSnapshot` puts it in its place.
 *
 * @returns the bytes of the file
 * @throws BrokerError `broker.store_failed` if it ends before its end
 */
export function receiveSnapshot(directory: string, channel: Channel): Promise<number> {
  const file = incomingFile(directory);
  return new Promise((resolve, reject) => {
    const stream = createWriteStream(file, { mode: 0o600 });
    let head = Buffer.alloc(0);
    let wanted = -1;
    let received = 0;
    stream.once('error', (error) => {
      channel.destroy();
      reject(error);
    });
    stream.on('drain', () => channel.resume());
    channel.start({
      onBytes: (chunk) => {
        let bytes = chunk;
        if (wanted < 0) {
          head = Buffer.concat([head, chunk]);
          if (head.length < lengthBytes) return;
          wanted = Number(head.readBigUInt64BE());
          bytes = head.subarray(lengthBytes);
        }
        received += bytes.length;
        if (!stream.write(Buffer.from(bytes))) channel.pause();
      },
      onDrain: () => undefined,
      onFault: () => undefined,
      onError: () => undefined,
      onClose: () =>
        stream.end(() => {
          if (received === wanted) resolve(received);
          else
            reject(
              new BrokerError('broker.store_failed', `a snapshot ended after ${received} of ${wanted} bytes`),
            );
        }),
    });
  });
}

/** Puts a received snapshot in the place of the node's copy, which nobody has open. */
export function installSnapshot(directory: string): void {
  const incoming = incomingFile(directory);
  const file = path.join(directory, storeFileName);
  syncFile(incoming);
  // The copy was closed, so its log is empty; a leftover one would be applied to the other file.
  for (const suffix of ['-wal', '-shm']) rmSync(`${file}${suffix}`, { force: true });
  renameSync(incoming, file);
  syncFile(directory);
}

/** What a process that was killed left behind. */
export function removeLeftovers(directory: string, names: readonly string[]): void {
  for (const name of names.filter((one) => one.startsWith(`${storeFileName}.`))) {
    if (existsSync(path.join(directory, name))) rmSync(path.join(directory, name), { force: true });
  }
}

function incomingFile(directory: string): string {
  return path.join(directory, `${storeFileName}.incoming`);
}

function syncFile(file: string): void {
  const descriptor = openSync(file, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
