/** Everything about a device as files, of all times or of a part. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { ApiError, parse } from '../../web/api-error.ts';
import { tableNames } from '../export.ts';
import type { ExportJob } from '../export-messages.ts';
import { asFile } from './as-file.ts';
import type { PageContext } from './context.ts';
import { deviceQuery, requireQuery } from './device-routes.ts';

const tableType = z.object({ table: z.enum(tableNames) });
const momentType = z
  .union([z.iso.date(), z.iso.datetime({ offset: true })], {
    error: 'wanted a day such as 2026-01-31 (UTC), or a time such as 2026-01-31T12:00:00Z',
  })
  .transform((text) => Date.parse(text))
  .optional();
const exportQuery = deviceQuery.extend({ from: momentType, until: momentType });

export function registerExportRoutes(server: FastifyInstance, context: PageContext): void {
  for (const format of ['csv', 'parquet'] as const) {
    server.get(`/api/export/:table.${format}`, (request, reply) => {
      const { table } = parse(tableType, request.params);
      return send(context, request, reply, { format, table });
    });
  }
  server.get('/api/export/everything.json', (request, reply) =>
    send(context, request, reply, { format: 'json' }),
  );
}

/** @throws ApiError `api.malformed`, `api.unavailable` */
function send(
  context: PageContext,
  request: FastifyRequest,
  reply: FastifyReply,
  file: ExportJob['file'],
): FastifyReply {
  const { device, from: fromMs, until: untilMs } = requireQuery(context, request, exportQuery);
  if (fromMs !== undefined && untilMs !== undefined && fromMs >= untilMs)
    throw new ApiError('api.malformed', 'from: wanted a time before until');
  const pieces = context.exports.start({ device, file, fromMs, untilMs });
  if (pieces === undefined) throw new ApiError('api.unavailable', 'others are exporting; try again');
  const name = file.format === 'json' ? 'everything' : file.table;
  const part = fromMs === undefined && untilMs === undefined ? '' : '-part';
  return asFile(reply, device, `${name}${part}`, file.format).send(pieces);
}
