/** The dashboard and its API over HTTP. */
import type { Database } from '../../database/connect.ts';
import type { User } from '../../database/users.ts';
import { endSession, findSession, findUser, openSession } from '../../database/users.ts';
import type { Endpoint } from '../../runtime/config.ts';
import { registerErrors } from '../../web/errors.ts';
import type { RunningServer } from '../../web/server.ts';
import { createServer, listen } from '../../web/server.ts';
import type { Accounts, Sessions } from '../../web/session.ts';
import { registerSessions } from '../../web/session.ts';
import type { StaticFiles } from '../../web/static.ts';
import { registerStatic } from '../../web/static.ts';
import type { ApiContext } from './context.ts';
import { backendAnswer } from './errors.ts';
import { registerEvidenceRoutes } from './evidence-routes.ts';
import { registerEvents } from './events.ts';
import { registerPeopleRoutes } from './people-routes.ts';
import { registerProcessRoutes } from './process-routes.ts';
import { registerTelemetryRoutes } from './telemetry-routes.ts';
import { registerValueRoutes } from './value-routes.ts';

const bodyBytesMax = 64 * 1024;
const cookieName = 'plombe_session';
const files: StaticFiles = {
  home: 'dashboard/index.html',
  // `domain/` is where the dashboard's imports lead; it holds no secret.
  folders: ['dashboard', 'domain'],
  otherwise: 'dashboard',
  packages: ['lit-html', 'uplot', 'bpmn-js'],
  styleSources: "'self' 'unsafe-inline'", // bpmn-js puts style attributes into its SVG
};

export async function startApi(
  endpoint: Endpoint,
  publicUrl: string | undefined,
  context: Omit<ApiContext, keyof Sessions<User>>,
): Promise<RunningServer> {
  const server = createServer(bodyBytesMax);
  registerErrors(server, context.log, backendAnswer);
  const { database, clock, log } = context;
  const accounts = accountsIn(database);
  const sessions = await registerSessions(server, { accounts, cookieName, publicUrl, clock, log });
  const apiContext: ApiContext = { ...context, ...sessions };
  registerTelemetryRoutes(server, apiContext);
  registerValueRoutes(server, apiContext);
  registerPeopleRoutes(server, apiContext);
  registerEvidenceRoutes(server, apiContext);
  registerProcessRoutes(server, apiContext);
  registerEvents(server, apiContext);
  registerStatic(server, files);
  return listen(server, endpoint);
}

function accountsIn(database: Database): Accounts<User> {
  return {
    find: (name) => findUser(database, name),
    openSession: (token, { id }, nowMs, expiresMs) => openSession(database, token, id, nowMs, expiresMs),
    findSession: (token, nowMs) => findSession(database, token, nowMs),
    endSession: (token) => endSession(database, token),
  };
}
