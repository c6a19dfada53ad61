/** What people maintain: whose a device is and who looks after it, when it was serviced, and what its channels are called. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { readChannelRows, renameChannel } from '../../database/channels.ts';
import { listDeviceTypes } from '../../database/device-types.ts';
import { readKinship, setFormer } from '../../database/former.ts';
import { changeMetadata, readMetadata, readMetadataChanges } from '../../database/metadata.ts';
import type { DeviceMetadata } from '../../database/metadata.ts';
import { noteService, readServices, withdrawService } from '../../database/services.ts';
import { channelNameLengthMax } from '../../domain/limits.ts';
import { isChannelName } from '../../domain/snapshot.ts';
import { ApiError, parse } from '../../web/api-error.ts';
import { requireRole } from './context.ts';
import type { ApiContext } from './context.ts';
import { deviceTypeType, pathType, requireDevice, requireDeviceType, timeType } from './device-access.ts';

const labelsMax = 20;
const labelLengthMax = 40;
const wordsLengthMax = 200;
const remarkLengthMax = 500;
const intervalMax = 1_000_000;
/** Clocks differ a little. */
const aheadMs = 300_000;

/** Kept as it comes, so what SQL or a line cannot hold is refused: NUL, line breaks, half surrogate pairs. */
const line = (lengthMax: number) =>
  z
    .string()
    .max(lengthMax, { error: `wanted at most ${lengthMax} characters` })
    .refine((text) => text.isWellFormed() && !/[\0\r\n]/.test(text), { error: 'wanted one line of text' });
const label = line(labelLengthMax).refine((text) => text.trim() !== '', { error: 'a label cannot be blank' });
const labels = z
  .array(label)
  .max(labelsMax, { error: `wanted at most ${labelsMax} labels` })
  .refine((all) => new Set(all).size === all.length, { error: 'two labels are the same' });
const interval = z.int().min(1).max(intervalMax).nullable();

const pathQuery = z.object({ path: pathType });
const typeQuery = z.object({ deviceType: deviceTypeType });
const metadataBody = z.strictObject({
  path: pathType,
  revision: z.int().min(0).optional(),
  owner: line(wordsLengthMax).optional(),
  labels: labels.optional(),
  technician: line(wordsLengthMax).optional(),
  serviceHours: interval.optional(),
  serviceDays: interval.optional(),
});
const serviceBody = z.strictObject({
  path: pathType,
  servicedMs: timeType,
  hours: z.number().min(0).max(1e9).nullable().default(null),
  remark: line(remarkLengthMax).default(''),
});
const withdrawalBody = z.strictObject({ path: pathType, id: z.int().min(1) });
const formerBody = z.strictObject({ path: pathType, former: pathType.nullable() });
const channelName = z
  .string()
  .max(channelNameLengthMax)
  .refine(isChannelName, { error: 'wanted a letter or digit, then letters, digits and - . / _' });
const renameBody = z.strictObject({
  deviceType: deviceTypeType,
  from: z.string().min(1).max(channelNameLengthMax),
  to: channelName,
});

/** Registers them; every answer is within the scope of who asks. */
export function registerPeopleRoutes(server: FastifyInstance, context: ApiContext): void {
  server.get('/api/metadata', (request) => metadata(context, request));
  server.post('/api/metadata', (request) => writeMetadata(context, request));
  server.post('/api/services', (request, reply) => addService(context, request, reply));
  server.post('/api/services/withdraw', (request, reply) => removeService(context, request, reply));
  server.post('/api/former', (request, reply) => writeFormer(context, request, reply));
  server.get('/api/device-types', (request) =>
    listDeviceTypes(context.database, context.requireUser(request).scope),
  );
  server.get('/api/channels', (request) => channels(context, request));
  server.post('/api/channels/rename', (request, reply) => rename(context, request, reply));
}

async function metadata(context: ApiContext, request: FastifyRequest): Promise<unknown> {
  const { database } = context;
  const { scope } = context.requireUser(request);
  const { path } = await requireDevice(context, scope, parse(pathQuery, request.query).path);
  return {
    ...(await readMetadata(database, path)),
    ...(await readKinship(database, scope, path)),
    changes: await readMetadataChanges(database, path),
    services: await readServices(database, path),
  };
}

async function writeMetadata(context: ApiContext, request: FastifyRequest): Promise<unknown> {
  const { name: by, scope } = requireRole(context, request, 'operator');
  const { path, revision, ...given } = parse(metadataBody, request.body);
  const device = await requireDevice(context, scope, path);
  // Without what is undefined.
  const changes = Object.fromEntries(
    Object.entries(given).filter(([, value]) => value !== undefined),
  ) as Partial<DeviceMetadata>;
  const nowMs = context.clock();
  const now = await changeMetadata(context.database, device.path, changes, { by, nowMs, revision });
  context.log.info({ device: device.path, by, fields: Object.keys(changes) }, 'metadata.changed');
  return now;
}

async function addService(
  context: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { name: by, scope } = requireRole(context, request, 'operator', 'technician');
  const { path, ...service } = parse(serviceBody, request.body);
  const device = await requireDevice(context, scope, path);
  const nowMs = context.clock();
  if (service.servicedMs > nowMs + aheadMs)
    throw new ApiError('api.malformed', 'servicedMs: it is yet to come');
  await noteService(context.database, device.path, { ...service, by }, nowMs);
  context.log.info({ device: device.path, by }, 'service.noted');
  return reply.code(204).send();
}

async function removeService(
  context: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { name: by, scope } = requireRole(context, request, 'operator', 'technician');
  const { path, id } = parse(withdrawalBody, request.body);
  const device = await requireDevice(context, scope, path);
  if (!(await withdrawService(context.database, device.path, id, by, context.clock())))
    throw new ApiError('api.not_found', 'the device has no such service, or not any more');
  context.log.info({ device: device.path, by, id }, 'service.withdrawn');
  return reply.code(204).send();
}

async function writeFormer(
  context: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { name: by, scope } = requireRole(context, request, 'operator');
  const body = parse(formerBody, request.body);
  const device = await requireDevice(context, scope, body.path);
  const former = body.former === null ? undefined : (await requireDevice(context, scope, body.former)).path;
  await setFormer(context.database, device.path, { former, by, scope }, context.clock());
  context.log.info({ device: device.path, by, former }, 'former.changed');
  return reply.code(204).send();
}

async function channels(context: ApiContext, request: FastifyRequest): Promise<unknown> {
  const { scope } = context.requireUser(request);
  const { deviceType } = parse(typeQuery, request.query);
  await requireDeviceType(context, scope, deviceType);
  return readChannelRows(context.database, deviceType);
}

async function rename(
  context: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { name: by, scope } = requireRole(context, request, 'operator');
  // A type is everybody's who has such a device.
  if (scope !== '') throw new ApiError('api.forbidden', 'only who sees everything may rename a channel');
  const { deviceType, from, to } = parse(renameBody, request.body);
  if (!(await renameChannel(context.database, deviceType, from, to, { by, nowMs: context.clock() })))
    throw new ApiError('api.not_found', 'there is no such channel');
  context.log.info({ deviceType, by, from, to }, 'channel.renamed');
  return reply.code(204).send();
}
