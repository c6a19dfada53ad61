/** One device: who gets what of it, its data sheet, and everything about it as files. */
import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { DataSheet, DeviceView } from '../../domain/audit-device-view.ts';
import type { NamespacePath } from '../../domain/namespace.ts';
import { parseDevicePath } from '../../domain/namespace.ts';
import { ApiError, parse } from '../../web/api-error.ts';
import { factsOf } from '../device-facts.ts';
import { exportCsv, exportJson, exportParquet, tableNames } from '../export.ts';
import type { PageContext } from './context.ts';
import { dataSheetOf } from './data-sheet.ts';
import { groupItem } from './policy-routes.ts';
import { sheetHtml, sheetMarkdown } from './sheet-text.ts';

const pathLengthMax = 62;
/** Each of them reads as fast as it is fetched, and opens what it reads. */
const exportsMax = 4;

/** By the ending of a file's name. */
const mediaTypes = {
  csv: 'text/csv; charset=utf-8',
  html: 'text/html; charset=utf-8',
  json: 'application/json; charset=utf-8',
  md: 'text/markdown; charset=utf-8',
  parquet: 'application/vnd.apache.parquet',
} as const;

const deviceQuery = z.object({ device: z.string().max(pathLengthMax) });
const tableType = z.object({ table: z.enum(tableNames) });

export function registerDeviceRoutes(server: FastifyInstance, context: PageContext): void {
  const running = new Set<Readable>();
  const send = (reply: FastifyReply, pieces: AsyncGenerator<string | Uint8Array>): FastifyReply => {
    if (running.size >= exportsMax) throw new ApiError('api.unavailable', 'others are exporting; try again');
    const stream = Readable.from(pieces);
    running.add(stream);
    stream.once('close', () => running.delete(stream));
    return reply.send(stream);
  };
  server.get('/api/device', (request) => shown(context, requireDevice(context, request)));
  server.get('/api/export/:table.csv', (request, reply) => {
    const device = requireDevice(context, request);
    const { table } = parse(tableType, request.params);
    return send(asFile(reply, device, table, 'csv'), exportCsv(context, table, device));
  });
  server.get('/api/export/:table.parquet', (request, reply) => {
    const device = requireDevice(context, request);
    const { table } = parse(tableType, request.params);
    return send(asFile(reply, device, table, 'parquet'), exportParquet(context, table, device));
  });
  server.get('/api/export/everything.json', (request, reply) => {
    const device = requireDevice(context, request);
    const pieces = exportJson(context, device, context.clock());
    return send(asFile(reply, device, 'everything', 'json'), pieces);
  });
  server.get('/api/data-sheet.md', (request, reply) => {
    const device = requireDevice(context, request);
    return asFile(reply, device, 'data-sheet', 'md').send(sheetMarkdown(sheetOf(context, device)));
  });
  server.get('/api/data-sheet.html', (request, reply) => {
    const device = requireDevice(context, request);
    return asFile(reply, device, 'data-sheet', 'html').send(sheetHtml(sheetOf(context, device)));
  });
}

/** @throws ApiError `api.unauthenticated`, `api.malformed` */
export function requireDevice(context: PageContext, request: FastifyRequest): NamespacePath {
  context.requireUser(request);
  const device = parseDevicePath(parse(deviceQuery, request.query).device);
  if (device === undefined) throw new ApiError('api.malformed', 'wanted masterAccount/account/equipment');
  return device;
}

function shown(context: PageContext, device: NamespacePath): DeviceView {
  const facts = factsOf(context, device);
  const { groups, commands, levels } = context.check.effectOf(device);
  const channels = facts.channels.map(({ channel }) => channel);
  return {
    device,
    levels,
    commands,
    groups: groups.map((group) => groupItem(group, channels)),
    tables: tableNames,
    keptSinceMs: context.archive?.sinceMs(device),
    sheet: sheetOf(context, device, facts),
  };
}

function sheetOf(context: PageContext, device: NamespacePath, facts = factsOf(context, device)): DataSheet {
  return dataSheetOf({
    device,
    facts,
    effect: context.check.effectOf(device),
    owners: context.check.ownReaders(device),
    archive: context.archive,
    nowMs: context.clock(),
  });
}

/** Never shown in place: what a browser opens of it is a file of its own. */
function asFile(
  reply: FastifyReply,
  device: NamespacePath,
  name: string,
  ending: keyof typeof mediaTypes,
): FastifyReply {
  const prefix = device.replaceAll('/', '_'); // a path has no character that a header would have to quote
  return reply
    .type(mediaTypes[ending])
    .header('content-disposition', `attachment; filename="${prefix}-${name}.${ending}"`);
}
