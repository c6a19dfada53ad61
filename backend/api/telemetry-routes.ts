/** What the dashboard asks about devices and what they sent. Every answer is within the scope of who asks. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { readAlarms } from '../../database/alarms.ts';
import { readBrokers } from '../../database/brokers.ts';
import { readCertificates } from '../../database/certificates.ts';
import { readCommands } from '../../database/commands.ts';
import { readDeadLetters } from '../../database/dead-letters.ts';
import { readFleet } from '../../database/fleet.ts';
import { readOpenGaps } from '../../database/gaps.ts';
import { readLatest } from '../../database/latest.ts';
import { pointsMax } from '../../database/buckets.ts';
import { readSeries } from '../../database/series.ts';
import { countSnapshots, readTotals } from '../../database/totals.ts';
import { commandNames } from '../../domain/command.ts';
import { channelNameLengthMax } from '../../domain/limits.ts';
import { ApiError, parse } from '../../web/api-error.ts';
import { requireRole } from './context.ts';
import type { ApiContext } from './context.ts';
import { pathType, requireDevice, timeType } from './device-access.ts';

const pathQuery = z.object({ path: pathType });
const totalsQuery = z.object({ count: z.literal('exact').optional() });
const seriesQuery = z.object({
  path: pathType,
  channel: z.string().min(1).max(channelNameLengthMax),
  fromMs: timeType,
  toMs: timeType,
  points: z.coerce.number().int().min(1).max(pointsMax).default(500),
});
const commandBody = z.strictObject({ path: pathType, name: z.enum(commandNames) });

/** Registers the routes below `/api/` that need only reading, and the one that sends a command. */
export function registerTelemetryRoutes(server: FastifyInstance, context: ApiContext): void {
  const { database } = context;
  server.get('/api/totals', (request) => totals(context, request));
  server.get('/api/fleet', (request) =>
    readFleet(database, context.requireUser(request).scope, context.clock()),
  );
  server.get('/api/brokers', (request) => readBrokers(database, context.requireUser(request).scope));
  server.get('/api/device', (request) => device(context, request));
  server.get('/api/series', (request) => series(context, request));
  server.get('/api/commands', (request) => commands(context, request));
  server.post('/api/commands', (request, reply) => sendCommand(context, request, reply));
  server.get('/api/dead-letters', (request) => readDeadLetters(database, context.requireUser(request).scope));
  server.get('/api/alarms', (request) => readAlarms(database, context.requireUser(request).scope));
}

async function totals(context: ApiContext, request: FastifyRequest): Promise<unknown> {
  const { scope, role } = context.requireUser(request);
  const { count } = parse(totalsQuery, request.query);
  const sums = await readTotals(context.database, scope, context.clock());
  if (count === undefined) return sums;
  // It reads every snapshot, so it is not for everyone.
  if (role !== 'operator') throw new ApiError('api.forbidden', `a ${role} may not count exactly`);
  return { ...sums, ...(await countSnapshots(context.database, scope)) };
}

async function device(context: ApiContext, request: FastifyRequest): Promise<unknown> {
  const { database } = context;
  const { scope } = context.requireUser(request);
  const row = await requireDevice(context, scope, parse(pathQuery, request.query).path);
  return {
    ...row,
    latest: await readLatest(database, row.path),
    gaps: await readOpenGaps(database, scope, row.path, context.clock()),
    certificates: await readCertificates(database, scope, row.path),
    alarms: await readAlarms(database, row.path),
  };
}

async function series(context: ApiContext, request: FastifyRequest): Promise<unknown> {
  const { scope } = context.requireUser(request);
  const { path, channel, ...range } = parse(seriesQuery, request.query);
  if (range.fromMs > range.toMs) throw new ApiError('api.malformed', 'fromMs is after toMs');
  const row = await requireDevice(context, scope, path);
  const found = await readSeries(context.database, row.path, channel, range);
  if (found === undefined) throw new ApiError('api.not_found', 'the device has no such channel');
  return found;
}

async function commands(context: ApiContext, request: FastifyRequest): Promise<unknown> {
  const { scope } = context.requireUser(request);
  const row = await requireDevice(context, scope, parse(pathQuery, request.query).path);
  return readCommands(context.database, scope, row.path);
}

async function sendCommand(
  context: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const user = requireRole(context, request, 'operator', 'technician');
  const { path, name } = parse(commandBody, request.body);
  const row = await requireDevice(context, user.scope, path);
  if (context.commands === undefined) {
    throw new ApiError('api.unavailable', 'no identity to send commands with is configured');
  }
  return reply.code(202).send({ id: await context.commands.send(row.path, name, user.name) });
}
