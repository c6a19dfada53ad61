/** What waits for a person: shown, looked into, and decided. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { EnvelopeView, HeldItem, HeldList } from '../../domain/audit-view.ts';
import { parseDevicePath } from '../../domain/namespace.ts';
import type { PassageLeaf } from '../../ledger/leaf.ts';
import { deviceOf } from '../../ledger/stream.ts';
import { ApiError, parse } from '../../web/api-error.ts';
import type { HeldEnvelope } from '../held-store.ts';
import { requireGate, requireReleaser } from './context.ts';
import type { PageContext } from './context.ts';
import { viewEnvelope } from './envelope-view.ts';

const shownMax = 200;
const channelsShownMax = 200;

const idType = z.object({ id: z.coerce.number().int().min(1).max(Number.MAX_SAFE_INTEGER) });
const decisionBody = z.strictObject({ outcome: z.enum(['released', 'denied']) });

export function registerHeldRoutes(server: FastifyInstance, context: PageContext): void {
  server.get('/api/held', (request) => list(context, request));
  server.get('/api/held/:id/envelope', (request) => envelope(context, request));
  server.post('/api/held/:id/decision', (request, reply) => decide(context, request, reply));
}

function list(context: PageContext, request: FastifyRequest): HeldList {
  context.requireUser(request);
  const { gate } = context;
  if (gate === undefined) return { mode: 'observe', total: 0, atDeadline: undefined, held: [] };
  return {
    mode: 'enforce',
    total: gate.size,
    atDeadline: gate.atDeadline,
    held: gate.list(shownMax).map((held) => itemOf(context, held)),
  };
}

function itemOf(context: PageContext, { id, passage, deadlineMs, decision }: HeldEnvelope): HeldItem {
  const { topic, sequence, signingTimeMs, timeMs, bytes, recipients, channels } = passage;
  const names = channels && context.record.channelNames(channels.digest);
  return {
    id,
    device: deviceOf(topic),
    topic,
    sequence,
    signingTimeMs,
    heldMs: timeMs,
    bytes,
    recipients: recipients.map(({ name, identifier }) => name ?? identifier),
    channelCount: channels?.count,
    channels: names?.slice(0, channelsShownMax),
    asked: asked(context, passage, names ?? []).slice(0, channelsShownMax),
    deadlineMs,
    decision,
  };
}

/** What the policy asks about, as it is now; nothing if it waits because no policy speaks of the device. */
function asked({ check }: PageContext, passage: PassageLeaf, names: readonly string[]): string[] {
  const { topic, direction, policy } = passage;
  const device = parseDevicePath(deviceOf(topic));
  const grant = device && check.grantFor(device, topic);
  if (grant === undefined || grant.effect.levels.length === 0) return [];
  if (direction === 'in') return ['this command'];
  const channels = names.filter((name) => grant.group?.classOf(name) === 'ask');
  // It was sealed before its device had the policies that hold now.
  return channels.length > 0 ? channels : [`what policy number ${policy ?? 0} granted`];
}

function envelope(context: PageContext, request: FastifyRequest): EnvelopeView {
  context.requireUser(request);
  const found = requireGate(context).find(parse(idType, request.params).id);
  if (found === undefined) throw new ApiError('api.not_found', 'it does not wait any more');
  return viewEnvelope(found.envelope, found.passage.topic, context.opener);
}

async function decide(
  context: PageContext,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { name } = requireReleaser(context, request);
  const gate = requireGate(context);
  const { id } = parse(idType, request.params);
  const { outcome } = parse(decisionBody, request.body);
  if (!gate.decide(id, { outcome, by: name })) {
    throw new ApiError('api.conflict', 'it was decided already, by somebody else or at its deadline');
  }
  return reply.code(204).send();
}
