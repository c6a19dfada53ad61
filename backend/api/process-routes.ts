/** What the dashboard asks about workflows: tasks, notifications, instances, diagrams, rules. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { hasDeviceOfType } from '../../database/device-types.ts';
import {
  completeTask,
  countWorkflows,
  listNotifications,
  listTasks,
  listWorkflows,
  readCondition,
  readDefinitionXml,
  readDeviceTypeRules,
} from '../../database/processes-lists.ts';
import { ApiError, parse } from '../../web/api-error.ts';
import { requireRole } from './context.ts';
import type { ApiContext } from './context.ts';

const listedMax = 500;
const commentLengthMax = 1000;
/** What a device has before it says its type. */
const defaultType = 'default';

const path = z.string().min(1).max(62);
const id = z.string().min(1).max(36);
const idParameter = z.object({ id });
const nameParameter = z.object({ name: z.string().min(1).max(100) });
const digestQuery = z.object({
  digest: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
});
const pathQuery = z.object({ path });
const workflowQuery = z.object({ path: path.optional(), id: id.optional() });
const completion = z.strictObject({ comment: z.string().trim().max(commentLengthMax).default('') });

/** Registers the routes below `/api/` that bpm's tables answer. Every answer is within the scope of who asks. */
export function registerProcessRoutes(server: FastifyInstance, context: ApiContext): void {
  const { database } = context;
  server.get('/api/tasks', (request) => listTasks(database, context.requireUser(request).scope, listedMax));
  server.post('/api/tasks/:id/complete', (request, reply) => complete(context, request, reply));
  server.get('/api/notifications', (request) =>
    listNotifications(database, context.requireUser(request).scope, listedMax),
  );
  server.get('/api/workflows', (request) => {
    const { scope } = context.requireUser(request);
    return listWorkflows(database, scope, parse(workflowQuery, request.query), listedMax);
  });
  server.get('/api/workflows/counts', (request) =>
    countWorkflows(database, context.requireUser(request).scope),
  );
  server.get('/api/condition', (request) => condition(context, request));
  server.get('/api/definitions/:name', (request, reply) => definition(context, request, reply));
  server.get('/api/device-types/:name', (request) => deviceType(context, request));
}

async function complete(
  context: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { name, scope } = requireRole(context, request, 'operator', 'technician');
  const task = {
    id: parse(idParameter, request.params).id,
    by: name,
    comment: parse(completion, request.body ?? {}).comment,
    scope,
  };
  const outcome = await completeTask(context.database, task, context.clock());
  if (outcome === 'absent') absent('there is no such task');
  // Two people may press the button at once; the second learns that it was done.
  if (outcome === 'completed') return reply.code(204).send();
  return reply.code(409).send({ code: 'task.closed', message: 'somebody has closed this task already' });
}

async function definition(
  context: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  context.requireUser(request);
  const { name } = parse(nameParameter, request.params);
  const { digest } = parse(digestQuery, request.query);
  const xml = await readDefinitionXml(context.database, name, digest);
  if (xml === undefined) absent('there is no such process');
  return reply.type('application/xml; charset=utf-8').send(xml);
}

async function condition(context: ApiContext, request: FastifyRequest): Promise<unknown> {
  const { scope } = context.requireUser(request);
  const found = await readCondition(context.database, scope, parse(pathQuery, request.query).path);
  return found ?? absent('there is no such device');
}

async function deviceType(context: ApiContext, request: FastifyRequest): Promise<unknown> {
  const { scope } = context.requireUser(request);
  const { name } = parse(nameParameter, request.params);
  const isSeen = name === defaultType || (await hasDeviceOfType(context.database, scope, name));
  const rules = isSeen ? await readDeviceTypeRules(context.database, name) : undefined;
  // Before bpm has ever started there are none, and a page does without; so it does of a type that it sees no device of.
  return rules ?? { deviceType: name, title: name, gauges: [], figures: [] };
}

function absent(message: string): never {
  throw new ApiError('api.not_found', message);
}
