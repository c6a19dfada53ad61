/** Where commands on this machine reach a running broker: a socket in the data folder, for whoever the system lets in there. */
import { mkdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { IncomingMessage, Server } from 'node:http';
import path from 'node:path';
import { errorText } from '../../domain/error-text.ts';
import type { Log } from '../../runtime/log.ts';
import type { Asides } from '../cascade/asides.ts';
import type { KeptMessage } from '../cascade/up-store.ts';
import { readOrder } from './order.ts';
import type { Answer, Order, ShownMessage } from './order.ts';
import { socketName } from './socket-name.ts';
import type { SocketName } from './socket-name.ts';

export interface CommandDoor {
  close(): Promise<void>;
}

export interface CommandDoorOptions {
  /** Or why there are none at the moment. */
  readonly asides: () => Asides | { readonly reason: string };
  readonly log: Log;
}

/** Of one order: the numbers of all that can be set aside, and more. */
const orderBytesMax = 64 * 1024;

/** @returns where the door of a data folder is */
export function commandDoorIn(directory: string): string {
  return path.join(directory, 'commands', 'broker.sock');
}

/**
 * Opens it. A data folder on which no socket can be is no reason not to carry messages.
 *
 * @param directory - the data folder, which this process has locked
 */
export async function openCommandDoor(
  directory: string,
  options: CommandDoorOptions,
): Promise<CommandDoor | undefined> {
  const file = commandDoorIn(directory);
  const server = createServer((request, response) => {
    answerTo(request, options).then(
      (answer) => {
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
      },
      (error: unknown) => response.writeHead(400).end(errorText(error)),
    );
  });
  let address: SocketName | undefined;
  try {
    // Nobody else gets as far as the socket, whatever mode it has.
    mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
    rmSync(file, { force: true }); // of a process that was killed
    address = socketName(file);
    await listen(server, address.name);
  } catch (error) {
    address?.release();
    options.log.warn({ file, detail: errorText(error) }, 'commands.unavailable');
    return undefined;
  }
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => {
          address.release(); // not before: it deletes the socket by that name
          resolve();
        });
        server.closeAllConnections();
      }),
  };
}

function listen(server: Server, file: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(file, resolve);
  });
}

/** @throws Error that says what is wrong with the order */
async function answerTo(request: IncomingMessage, { asides }: CommandDoorOptions): Promise<Answer> {
  const order = readOrder(await bodyOf(request));
  const found = asides();
  return 'reason' in found ? { kind: 'unavailable', reason: found.reason } : carryOut(order, found);
}

async function carryOut(order: Order, asides: Asides): Promise<Answer> {
  if (order.kind === 'list') return { kind: 'list', messages: await asides.list() };
  if (order.kind === 'show') return { kind: 'show', message: shown(await asides.find(order.id)) };
  const messages = await (order.kind === 'retry' ? asides.retry(order.ids) : asides.drop(order.ids));
  return { kind: 'decided', messages };
}

function shown(kept: KeptMessage | undefined): ShownMessage | undefined {
  if (kept === undefined) return undefined;
  const { message, sequence: _place, ...facts } = kept;
  return { ...facts, expiresMs: message.expiresMs, payload: message.payload.toString('base64') };
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > orderBytesMax) throw new Error(`an order has at most ${orderBytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
