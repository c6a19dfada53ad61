/** An answer that a browser keeps as a file. */
import type { FastifyReply } from 'fastify';
import type { NamespacePath } from '../../domain/namespace.ts';

/** By the ending of its name. */
const mediaTypes = {
  csv: 'text/csv; charset=utf-8',
  html: 'text/html; charset=utf-8',
  json: 'application/json; charset=utf-8',
  md: 'text/markdown; charset=utf-8',
  parquet: 'application/vnd.apache.parquet',
} as const;

/** Never shown in place: what a browser opens of it is a file of its own. */
export function asFile(
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
