/** What left and what proves it: sums of today, the state of the ledger and its verification, and alarms. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { AlarmItem, LedgerState } from '../../domain/audit-view.ts';
import { ApiError } from '../../web/api-error.ts';
import { auditorListing } from '../list.ts';
import type { PageContext } from './context.ts';

const alarmsShownMax = 100;

export function registerLedgerRoutes(server: FastifyInstance, context: PageContext): void {
  server.get('/api/today', (request) => {
    context.requireUser(request);
    return context.departures.today();
  });
  server.get('/api/ledger', (request) => ledger(context, request));
  server.get('/api/alarms', (request) => alarms(context, request));
  server.post('/api/ledger/verification', (request, reply) => verify(context, request, reply));
}

function ledger(context: PageContext, request: FastifyRequest): LedgerState {
  context.requireUser(request);
  const { scope, record, gate, ledgerCheck } = context;
  const { origin, size, root } = record.head;
  const { signed, countersigned } = context.heads();
  return {
    scope,
    mode: gate === undefined ? 'observe' : 'enforce',
    isConnected: context.connected(),
    origin,
    leaves: size,
    root: root.toString('hex'),
    ...record.index.totals(),
    held: gate?.size ?? 0,
    signed,
    countersigned,
    verification: ledgerCheck.state,
  };
}

function alarms(context: PageContext, request: FastifyRequest): AlarmItem[] {
  context.requireUser(request);
  const { entries: found } = auditorListing(context.directory, {
    alarmsOnly: true,
    entriesMax: alarmsShownMax,
  });
  return found.toReversed().flatMap(({ number, timeMs, topic, direction, sequence, outcome, alarm }) => {
    return alarm === undefined ? [] : [{ number, timeMs, topic, direction, sequence, outcome, ...alarm }];
  });
}

async function verify(
  context: PageContext,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { name } = context.requireUser(request);
  if (!context.ledgerCheck.start(name)) {
    throw new ApiError('api.conflict', 'the ledger is being verified already');
  }
  return reply.code(202).send(context.ledgerCheck.state);
}
