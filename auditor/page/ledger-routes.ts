/** What left and what proves it: sums of today, the state of the ledger and its verification, alarms, and entries as a file. */
import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { AlarmItem, LedgerState } from '../../domain/audit-view.ts';
import { parseNamespacePath } from '../../domain/namespace.ts';
import { ApiError, parse } from '../../web/api-error.ts';
import { exportEntries } from '../export.ts';
import { auditorListing } from '../list.ts';
import type { PageContext } from './context.ts';

const alarmsShownMax = 100;
const pathLengthMax = 62;
/** Each of them has the ledger open, and reads as fast as it is fetched. */
const exportsMax = 4;

const exportQuery = z.object({ device: z.string().max(pathLengthMax) });

export function registerLedgerRoutes(server: FastifyInstance, context: PageContext): void {
  const running = new Set<Readable>();
  server.get('/api/today', (request) => {
    context.requireUser(request);
    return context.departures.today();
  });
  server.get('/api/ledger', (request) => ledger(context, request));
  server.get('/api/alarms', (request) => alarms(context, request));
  server.get('/api/entries', (request, reply) => entries(context, request, reply, running));
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

async function entries(
  context: PageContext,
  request: FastifyRequest,
  reply: FastifyReply,
  running: Set<Readable>,
): Promise<FastifyReply> {
  context.requireUser(request);
  const device = parseNamespacePath(parse(exportQuery, request.query).device);
  if (device === undefined) throw new ApiError('api.malformed', 'wanted a device, or an account');
  if (running.size >= exportsMax) throw new ApiError('api.unavailable', 'others are exporting; try again');
  const lines = Readable.from(exportEntries(context.directory, device));
  running.add(lines);
  lines.once('close', () => running.delete(lines));
  const name = device.replaceAll('/', '_'); // a path has no character that a header would have to quote
  return reply
    .type('text/csv; charset=utf-8')
    .header('content-disposition', `attachment; filename="${name}-ledger.csv"`)
    .send(lines);
}
