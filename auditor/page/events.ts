/** Server-Sent Events: what changed, a few times a second; the page asks for what it shows. */
import type { ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { ApiError } from '../../web/api-error.ts';
import type { PageContext } from './context.ts';

/** Numbers in memory are compared this often. */
const checkMs = 250;
const heartbeatMs = 15_000;
const listenersMax = 100;
/** A page that reads so slowly is cut off; it connects again and asks anew. */
const unreadBytesMax = 64 * 1024;

export function registerEvents(server: FastifyInstance, context: PageContext): void {
  const streams = new Set<ServerResponse>();
  let known = revisions(context);
  const check = setInterval(() => {
    const now = revisions(context);
    for (const [what, revision] of now) {
      if (known.get(what) !== revision)
        tell(streams, `event: changed\ndata: ${JSON.stringify({ what })}\n\n`);
    }
    known = now;
  }, checkMs);
  check.unref();
  server.addHook('preClose', (done) => {
    clearInterval(check);
    for (const stream of streams) stream.end();
    done();
  });
  server.get('/api/events', (request, reply) => {
    const { role } = context.requireUser(request);
    if (streams.size >= listenersMax) throw new ApiError('api.unavailable', 'too many pages are listening');
    reply.hijack();
    const stream = reply.raw;
    streams.add(stream);
    stream.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    stream.write(': listening\n\n');
    const heartbeat = setInterval(() => {
      tell([stream], ': still here\n\n');
      // A session that ended, or a role that was changed, ends the stream too.
      context.userNow(request).then(
        (person) => {
          if (person?.role !== role) stream.end();
        },
        () => undefined, // the file is locked for a moment; the next round asks again
      );
    }, heartbeatMs);
    stream.on('close', () => {
      streams.delete(stream);
      clearInterval(heartbeat);
    });
    return reply;
  });
}

function revisions({ gate, record, heads, ledgerCheck, policies }: PageContext): Map<string, number> {
  const { signed, countersigned } = heads();
  return new Map([
    ['held', gate?.revision ?? 0],
    ['entries', record.head.size],
    ['heads', (signed?.size ?? 0) + countersigned],
    ['verification', ledgerCheck.revision],
    ['policies', policies.generation],
  ]);
}

function tell(streams: Iterable<ServerResponse>, text: string): void {
  for (const stream of streams) {
    if (stream.writableLength > unreadBytesMax) stream.destroy();
    else stream.write(text);
  }
}
