/** The dashboard and its API over HTTP. */
import type { AddressInfo } from 'node:net';
import fastify from 'fastify';
import type { Endpoint } from '../../runtime/config.ts';
import type { ApiContext } from './context.ts';
import { registerErrors } from './errors.ts';
import { registerEvidenceRoutes } from './evidence-routes.ts';
import { registerEvents } from './events.ts';
import { registerPeopleRoutes } from './people-routes.ts';
import { registerProcessRoutes } from './process-routes.ts';
import { registerSessions, requireUser } from './session.ts';
import { registerStatic } from './static.ts';
import { registerTelemetryRoutes } from './telemetry-routes.ts';
import { registerValueRoutes } from './value-routes.ts';

export interface ApiServer {
  readonly port: number;
  close(): Promise<void>;
}

const bodyBytesMax = 64 * 1024;
const requestTimeoutMs = 30_000;

export async function startApi(
  listen: Endpoint,
  publicUrl: string | undefined,
  context: Omit<ApiContext, 'requireUser'>,
): Promise<ApiServer> {
  const server = fastify({
    bodyLimit: bodyBytesMax,
    requestTimeout: requestTimeoutMs,
    forceCloseConnections: true,
    logger: false,
  });
  const apiContext: ApiContext = { ...context, requireUser };
  registerErrors(server, context.log);
  await registerSessions(server, apiContext, publicUrl);
  registerTelemetryRoutes(server, apiContext);
  registerValueRoutes(server, apiContext);
  registerPeopleRoutes(server, apiContext);
  registerEvidenceRoutes(server, apiContext);
  registerProcessRoutes(server, apiContext);
  registerEvents(server, apiContext);
  registerStatic(server);
  try {
    await server.listen({ host: listen.host, port: listen.port });
  } catch (error) {
    await server.close();
    throw error;
  }
  return {
    port: (server.server.address() as AddressInfo).port,
    close: async () => {
      await server.close();
    },
  };
}
