/** Asks the broker that runs on a data folder. */
import { request } from 'node:http';
import { BrokerError } from '../errors.ts';
import { commandDoorIn } from './command-door.ts';
import type { Answer, Order } from './order.ts';
import { socketName } from './socket-name.ts';
import type { SocketName } from './socket-name.ts';

/** A disk that is slow, or nodes that have to agree. */
const patienceMs = 30_000;

/**
 * @param directory - its data folder
 * @throws BrokerError `broker.not_reached` in words for whoever typed the command
 */
export async function askBroker(directory: string, order: Order): Promise<Answer> {
  let door: SocketName | undefined;
  try {
    door = socketName(commandDoorIn(directory));
    return await ask(door.name, order);
  } catch (cause) {
    if (cause instanceof BrokerError) throw cause;
    throw notReached(whyNot(directory, cause), cause);
  } finally {
    door?.release();
  }
}

/** @throws the system's error, or BrokerError */
function ask(socketPath: string, order: Order): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, method: 'POST', path: '/', timeout: patienceMs });
    asked.on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', (error) => reject(notReached(unanswered, error)));
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        if (response.statusCode === 200) resolve(JSON.parse(text) as Answer);
        else reject(notReached(`the broker did not understand: ${text}`));
      });
    });
    asked.on('timeout', () => asked.destroy(new Error('no answer')));
    asked.on('error', reject);
    asked.end(JSON.stringify(order));
  });
}

function notReached(message: string, cause?: unknown): BrokerError {
  return new BrokerError('broker.not_reached', message, { cause });
}

const unanswered =
  'the broker ended, or did not answer: whether it was done, `plombe broker aside list` says';

function whyNot(directory: string, error: unknown): string {
  switch (error instanceof Error && 'code' in error ? error.code : undefined) {
    case 'ENOENT':
    case 'ECONNREFUSED':
    case 'ENOTDIR':
      return `no broker runs on ${directory}, on this machine: start it; what is set aside there stays`;
    case 'EACCES':
    case 'EPERM':
      return `no right to ask the broker on ${directory}: run this as the user that it runs as`;
    default:
      return unanswered;
  }
}
