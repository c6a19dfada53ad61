/** The sealed envelopes themselves, for whoever must show what a device sent. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { readEvidence } from '../../database/evidence.ts';
import { ApiError } from '../../web/api-error.ts';
import type { ApiContext } from './context.ts';

const evidenceQuery = z.object({
  path: z.string().min(1).max(62),
  sequence: z.coerce.number().int().min(1).max(Number.MAX_SAFE_INTEGER),
});
/** RFC 8551 §3.2.2 has no name for a SignedData over an AuthEnvelopedData. */
const mediaType = 'application/pkcs7-mime; smime-type=signed-data';

export function registerEvidenceRoutes(server: FastifyInstance, context: ApiContext): void {
  server.get('/api/evidence', (request, reply) => sendEvidence(context, request, reply));
}

async function sendEvidence(
  context: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { scope } = context.requireUser(request);
  const asked = evidenceQuery.safeParse(request.query);
  if (!asked.success) throw new ApiError('api.malformed', 'wanted a path and a sequence');
  const { path, sequence } = asked.data;
  const found = await readEvidence(context.database, scope, path, sequence);
  if (found === undefined) throw new ApiError('api.not_found', 'the envelope is not kept, or not any more');
  const fileName = `${path.replaceAll('/', '+')}-${sequence}.p7m`;
  return reply
    .type(mediaType)
    .header('content-disposition', `attachment; filename="${fileName}"`)
    .header('cache-control', 'no-store')
    .send(Buffer.from(found.envelope));
}
