/** The auditor's page and its API over HTTP, on the customer's premises. */
import path from 'node:path';
import type { FastifyInstance } from 'fastify';
import type { ErrorAnswer } from '../../web/errors.ts';
import { registerErrors } from '../../web/errors.ts';
import type { RunningServer } from '../../web/server.ts';
import { createServer, listen } from '../../web/server.ts';
import { registerSessions } from '../../web/session.ts';
import type { StaticFiles } from '../../web/static.ts';
import { registerStatic } from '../../web/static.ts';
import type { PageConfig } from '../config.ts';
import { countersignedFileName } from '../countersigning.ts';
import { Departures } from '../departures.ts';
import { Exports } from '../exports.ts';
import { ledgerFileName, RecordError } from '../record.ts';
import { openAccounts } from './accounts.ts';
import { registerCompletenessRoutes } from './completeness-routes.ts';
import type { PageContext, PageSource } from './context.ts';
import { registerEvents } from './events.ts';
import { registerDeviceRoutes } from './device-routes.ts';
import { registerExportRoutes } from './export-routes.ts';
import { registerEnvelopeRoutes } from './envelope-routes.ts';
import { registerHeldRoutes } from './held-routes.ts';
import { LedgerCheck } from './ledger-check.ts';
import { registerLedgerRoutes } from './ledger-routes.ts';
import { registerPolicyRoutes } from './policy-routes.ts';

const bodyBytesMax = 4096;
const cookieName = 'plombe_auditor_session';
const files: StaticFiles = {
  home: 'dashboard/auditor/index.html',
  // The browser's side of both pages is one folder; `domain/` is where its imports lead. Neither holds a secret.
  folders: ['dashboard', 'domain'],
  packages: ['lit-html'],
  styleSources: "'self'",
};

export async function startPage(
  { listen: endpoint, publicUrl }: PageConfig,
  source: PageSource,
): Promise<RunningServer> {
  const server = createServer(bodyBytesMax);
  const { directory, record, roots, clock, log } = source;
  const accounts = openAccounts(directory);
  registerErrors(server, log, storageAnswer);
  const sessions = await registerSessions(server, { accounts, cookieName, publicUrl, clock, log });
  const ledgerCheck = new LedgerCheck({
    ledgerFile: path.join(directory, ledgerFileName),
    headFile: path.join(directory, countersignedFileName),
    roots,
    clock,
    log,
  });
  const exports = new Exports({ ...source, hasArchive: source.archive !== undefined });
  const context: PageContext = {
    ...source,
    ...sessions,
    departures: new Departures(record, clock),
    ledgerCheck,
    exports,
  };
  requireLogin(server, context);
  registerHeldRoutes(server, context);
  registerLedgerRoutes(server, context);
  registerPolicyRoutes(server, context);
  registerCompletenessRoutes(server, context);
  registerDeviceRoutes(server, context);
  registerExportRoutes(server, context);
  registerEnvelopeRoutes(server, context);
  registerEvents(server, context);
  registerStatic(server, files);
  return listen(server, endpoint, async () => {
    await Promise.all([ledgerCheck.stop(), exports.stop()]);
    accounts.close();
  });
}

/** Whoever decides is told that the disk takes nothing. */
function storageAnswer(error: unknown): ErrorAnswer | undefined {
  if (!(error instanceof RecordError)) return undefined;
  return { status: 503, code: error.code, message: error.message };
}

/** Of every address below `/api/` but the two that log in and out, so that no route can forget it. */
function requireLogin(server: FastifyInstance, context: PageContext): void {
  server.addHook('onRequest', async (request) => {
    const { url = request.url } = request.routeOptions;
    if (url === '/api/login' || url === '/api/logout') return;
    if (url.startsWith('/api/')) context.requireUser(request);
  });
}
