/** What people maintain: whose a device is and who looks after it, and what its channels are called. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { readChannelRows, renameChannel } from '../../database/channels.ts';
import { changeMetadata, readMetadata, readMetadataChanges } from '../../database/metadata.ts';
import type { DeviceMetadata } from '../../database/metadata.ts';
import { channelNameLengthMax } from '../../domain/limits.ts';
import { isChannelName } from '../../domain/snapshot.ts';
import { ApiError, parse } from '../../web/api-error.ts';
import { requireRole } from './context.ts';
import type { ApiContext } from './context.ts';
import { pathType, requireDevice } from './device-access.ts';

const labelsMax = 20;
const intervalMax = 1_000_000;
/** As SQL keeps it: no half surrogate pairs. */
const words = (lengthMax: number) =>
  z
    .string()
    .trim()
    .max(lengthMax)
    .refine((text) => text.isWellFormed());

const pathQuery = z.object({ path: pathType });
const typeQuery = z.object({ deviceType: z.string().min(1).max(64) });
const metadataBody = z.strictObject({
  path: pathType,
  owner: words(200).optional(),
  labels: z.array(words(40)).max(labelsMax).optional(),
  technician: words(200).optional(),
  serviceHours: z.int().min(1).max(intervalMax).nullable().optional(),
  serviceDays: z.int().min(1).max(intervalMax).nullable().optional(),
});
const channelName = z.string().max(channelNameLengthMax).refine(isChannelName);
const renameBody = z.strictObject({
  deviceType: z.string().min(1).max(64),
  from: z.string().min(1).max(channelNameLengthMax),
  to: channelName,
});

/** Registers them; every answer is within the scope of who asks. */
export function registerPeopleRoutes(server: FastifyInstance, context: ApiContext): void {
  server.get('/api/metadata', (request) => metadata(context, request));
  server.post('/api/metadata', (request) => writeMetadata(context, request));
  server.get('/api/channels', (request) => channels(context, request));
  server.post('/api/channels/rename', (request, reply) => rename(context, request, reply));
}

async function metadata(context: ApiContext, request: FastifyRequest): Promise<unknown> {
  const { scope } = context.requireUser(request);
  const row = await requireDevice(context, scope, parse(pathQuery, request.query).path);
  return {
    ...(await readMetadata(context.database, row.path)),
    changes: await readMetadataChanges(context.database, row.path),
  };
}

async function writeMetadata(context: ApiContext, request: FastifyRequest): Promise<unknown> {
  const user = requireRole(context, request, 'operator');
  const { path, ...given } = parse(metadataBody, request.body);
  const row = await requireDevice(context, user.scope, path);
  // Without what is undefined.
  const changes = Object.fromEntries(
    Object.entries(given).filter(([, value]) => value !== undefined),
  ) as Partial<DeviceMetadata>;
  return changeMetadata(context.database, row.path, changes, user.name, context.clock());
}

async function channels(context: ApiContext, request: FastifyRequest): Promise<unknown> {
  context.requireUser(request);
  return readChannelRows(context.database, parse(typeQuery, request.query).deviceType);
}

async function rename(
  context: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const user = requireRole(context, request, 'operator');
  // A type is everybody's who has such a device.
  if (user.scope !== '') throw new ApiError('api.forbidden', 'only who sees everything may rename a channel');
  const { deviceType, from, to } = parse(renameBody, request.body);
  if (!(await renameChannel(context.database, deviceType, from, to, context.clock())))
    throw new ApiError('api.not_found', 'there is no such channel');
  return reply.code(204).send();
}
