/** What the dashboard asks about values: several charts at once, thresholds, work by day, and everything as a file. */
import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { pointsMax } from '../../database/buckets.ts';
import { readExceeding, readExceedingNow } from '../../database/exceeds.ts';
import { exportDevice } from '../../database/export.ts';
import { readManySeries, seriesChannelsMax } from '../../database/series.ts';
import { readOperatingHours, readUtilisation, workDaysMax } from '../../database/utilisation.ts';
import { channelNameLengthMax } from '../../domain/limits.ts';
import { ApiError, parse } from '../../web/api-error.ts';
import type { ApiContext } from './context.ts';
import { pathType, requireDevice, timeType } from './device-access.ts';

const channelType = z.string().min(1).max(channelNameLengthMax);
const chartsQuery = z.object({
  path: pathType,
  /** Given once for each. */
  channel: z.union([
    channelType.transform((one) => [one]),
    z.array(channelType).min(1).max(seriesChannelsMax),
  ]),
  fromMs: timeType,
  toMs: timeType,
  points: z.coerce.number().int().min(1).max(pointsMax).default(500),
});
const thresholdQuery = z.object({
  deviceType: z.string().min(1).max(64),
  channel: channelType,
  direction: z.enum(['above', 'below']),
  value: z.coerce.number(),
  when: z.enum(['now', 'ever', 'within']).default('now'),
  fromMs: timeType.optional(),
  toMs: timeType.optional(),
});
const workQuery = z.object({
  path: pathType,
  channel: channelType,
  /** A state that is on while the machine works, or a counter of its hours. */
  kind: z.enum(['state', 'counter']),
  fromMs: timeType,
  days: z.coerce.number().int().min(1).max(workDaysMax),
});
const exportQuery = z.object({ path: pathType, fromMs: timeType.optional(), toMs: timeType.optional() });

/** Every answer is within the scope of who asks. */
export function registerValueRoutes(server: FastifyInstance, context: ApiContext): void {
  server.get('/api/charts', (request) => charts(context, request));
  server.get('/api/exceeding', (request) => exceeding(context, request));
  server.get('/api/work', (request) => work(context, request));
  server.get('/api/export', (request, reply) => exportFile(context, request, reply));
}

async function charts(context: ApiContext, request: FastifyRequest): Promise<unknown> {
  const { scope } = context.requireUser(request);
  const { path, channel, ...range } = parse(chartsQuery, request.query);
  if (range.fromMs > range.toMs) throw new ApiError('api.malformed', 'fromMs is after toMs');
  const row = await requireDevice(context, scope, path);
  return readManySeries(context.database, row.path, channel, range);
}

async function exceeding(context: ApiContext, request: FastifyRequest): Promise<unknown> {
  const { scope } = context.requireUser(request);
  const { when, fromMs, toMs, ...threshold } = parse(thresholdQuery, request.query);
  if (when === 'now') return readExceedingNow(context.database, scope, threshold);
  if (when === 'ever') return readExceeding(context.database, scope, threshold);
  if (fromMs === undefined || toMs === undefined || fromMs > toMs)
    throw new ApiError('api.malformed', 'a window has fromMs, and toMs not before it');
  return readExceeding(context.database, scope, threshold, { fromMs, toMs });
}

async function work(context: ApiContext, request: FastifyRequest): Promise<unknown> {
  const { scope } = context.requireUser(request);
  const { path, channel, kind, ...range } = parse(workQuery, request.query);
  const row = await requireDevice(context, scope, path);
  const read = kind === 'state' ? readUtilisation : readOperatingHours;
  const days = await read(context.database, row.path, channel, range);
  if (days === undefined) throw new ApiError('api.not_found', 'the device has no such channel');
  return days;
}

async function exportFile(
  context: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { scope } = context.requireUser(request);
  const { path, fromMs = -8.64e15, toMs = 8.64e15 } = parse(exportQuery, request.query);
  if (fromMs > toMs) throw new ApiError('api.malformed', 'fromMs is after toMs');
  const row = await requireDevice(context, scope, path);
  const name = row.path.replaceAll('/', '_'); // a path has no character that a header would have to quote
  return reply
    .type('text/csv; charset=utf-8')
    .header('content-disposition', `attachment; filename="${name}.csv"`)
    .send(Readable.from(exportDevice(context.database, row.path, { fromMs, toMs })));
}
