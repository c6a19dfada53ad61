/** One device: who gets what of it, and its data sheet. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { DataSheet, DeviceView } from '../../domain/audit-device-view.ts';
import type { NamespacePath } from '../../domain/namespace.ts';
import { parseDevicePath } from '../../domain/namespace.ts';
import { ApiError, parse } from '../../web/api-error.ts';
import { factsOf } from '../device-facts.ts';
import { tableNames } from '../export.ts';
import type { PageContext } from './context.ts';
import { asFile } from './as-file.ts';
import { dataSheetOf } from './data-sheet.ts';
import { groupItem } from './policy-routes.ts';
import { sheetHtml, sheetMarkdown } from './sheet-text.ts';

const pathLengthMax = 62;

/** What else a query says is refused: half of it would be answered as if it were all. */
export const deviceQuery = z.strictObject({ device: z.string().max(pathLengthMax) });

export function registerDeviceRoutes(server: FastifyInstance, context: PageContext): void {
  server.get('/api/device', (request) => shown(context, requireDevice(context, request)));
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
  return requireQuery(context, request, deviceQuery).device;
}

/** A device, and what else there is to ask. @throws ApiError `api.unauthenticated`, `api.malformed` */
export function requireQuery<Query extends z.infer<typeof deviceQuery>>(
  context: PageContext,
  request: FastifyRequest,
  type: z.ZodType<Query>,
): Omit<Query, 'device'> & { readonly device: NamespacePath } {
  context.requireUser(request);
  const { device: text, ...rest } = parse(type, request.query);
  const device = parseDevicePath(text);
  if (device === undefined) throw new ApiError('api.malformed', 'wanted masterAccount/account/equipment');
  return { ...rest, device };
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
