/** The HTTP server of a program that serves pages: bounded, and gone with everything it began. */
import type { AddressInfo } from 'node:net';
import fastify from 'fastify';
import type { FastifyInstance } from 'fastify';
import type { Endpoint } from '../runtime/config.ts';

export interface RunningServer {
  readonly port: number;
  close(): Promise<void>;
}

const requestTimeoutMs = 30_000;

export function createServer(bodyBytesMax: number): FastifyInstance {
  return fastify({
    bodyLimit: bodyBytesMax,
    requestTimeout: requestTimeoutMs,
    forceCloseConnections: true,
    logger: false,
  });
}

/** @param end - closes what the routes use, also if the server cannot listen */
export async function listen(
  server: FastifyInstance,
  { host, port }: Endpoint,
  end: () => void | Promise<void> = () => undefined,
): Promise<RunningServer> {
  const close = async (): Promise<void> => {
    await server.close();
    await end();
  };
  try {
    await server.listen({ host, port });
  } catch (error) {
    await close();
    throw error;
  }
  return { port: (server.server.address() as AddressInfo).port, close };
}
