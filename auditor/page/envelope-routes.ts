/** The envelopes that are kept of a device: the newest, and each of them looked into. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { EnvelopeItem } from '../../domain/audit-device-view.ts';
import type { EnvelopeView } from '../../domain/audit-view.ts';
import { streamOf } from '../../ledger/stream.ts';
import { ApiError, parse } from '../../web/api-error.ts';
import type { ArchivedEnvelope } from '../archive.ts';
import type { PageContext } from './context.ts';
import { requireDevice } from './device-routes.ts';
import { viewEnvelope } from './envelope-view.ts';

const shownMax = 20;

const numberType = z.object({ number: z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER) });

export function registerEnvelopeRoutes(server: FastifyInstance, context: PageContext): void {
  server.get('/api/envelopes', (request) => newest(context, request));
  server.get('/api/envelopes/:number', (request) => envelope(context, request));
}

function newest(context: PageContext, request: FastifyRequest): EnvelopeItem[] {
  const device = requireDevice(context, request);
  const archived = context.archive?.newestOf(device, 'snapshot', shownMax) ?? [];
  return archived.flatMap((one) => itemOf(context, one));
}

/** What the ledger says of it last; of one that was held, what was decided. */
function itemOf({ record }: PageContext, { number, receivedMs }: ArchivedEnvelope): EnvelopeItem[] {
  const [found] = record.leavesFrom(number, 1);
  if (found?.leaf.kind !== 'passage') return [];
  const { topic, sequence, bytes, recipients, channels, outcome, digest, alarm } = found.leaf;
  const [last] = record.index.known(streamOf(found.leaf), digest);
  return [
    {
      number,
      receivedMs,
      topic,
      sequence,
      bytes,
      recipients: recipients.map(({ name, identifier }) => name ?? identifier),
      channelCount: channels?.count,
      outcome: last?.outcome ?? outcome,
      alarm: alarm?.reason,
    },
  ];
}

function envelope(context: PageContext, request: FastifyRequest): EnvelopeView {
  context.requireUser(request);
  const found = context.archive?.find(parse(numberType, request.params).number);
  if (found === undefined) throw new ApiError('api.not_found', 'it is not kept any more');
  return viewEnvelope(found.envelope, found.topic, context.opener);
}
