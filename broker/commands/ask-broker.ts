/** Asks the broker that runs on a data folder. */
import { request } from 'node:http';
import { BrokerError } from '../errors.ts';
import { commandDoorIn } from './command-door.ts';
import type { Answer, Order } from './order.ts';

/** A disk that is slow, or nodes that have to agree. */
const patienceMs = 30_000;

/**
 * @param directory - its data folder
 * @throws BrokerError `broker.not_reached` in words for whoever typed the command
 */
export function askBroker(directory: string, order: Order): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({
      socketPath: commandDoorIn(directory),
      method: 'POST',
      path: '/',
      timeout: patienceMs,
    });
    const fail = (message: string, cause?: unknown): void =>
      reject(new BrokerError('broker.not_reached', message, { cause }));
    asked.on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', (error) => fail(unanswered, error));
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        if (response.statusCode === 200) resolve(JSON.parse(text) as Answer);
        else fail(`the broker did not understand: ${text}`);
      });
    });
    asked.on('timeout', () => asked.destroy(new Error('no answer')));
    asked.on('error', (error) => fail(whyNot(directory, error), error));
    asked.end(JSON.stringify(order));
  });
}

const unanswered =
  'the broker ended, or did not answer: whether it was done, `plombe broker aside list` says';

function whyNot(directory: string, error: Error): string {
  switch ('code' in error ? error.code : undefined) {
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
