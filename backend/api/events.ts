/** Server-Sent Events: what was stored and what changed, within the scope of who listens, a few times a second. */
import type { ServerResponse } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { changeNames, readChanges } from '../../database/changes.ts';
import type { ChangeName } from '../../database/changes.ts';
import { isWithin } from '../../domain/namespace.ts';
import { ApiError } from '../../web/api-error.ts';
import type { StoredEvent } from '../feed.ts';
import type { ApiContext } from './context.ts';

const batchMs = 500;
const heartbeatMs = 15_000;
/** What other programs change in the database is looked for this often, while somebody listens. */
const pollMs = 1000;
const listenersMax = 500;
/** A page that reads so slowly is cut off; it connects again and asks anew. */
const unreadBytesMax = 1024 * 1024;

export function registerEvents(server: FastifyInstance, context: ApiContext): void {
  const streams = new Set<ServerResponse>();
  const stopPolling = pollChanges(context);
  server.addHook('preClose', (done) => {
    stopPolling();
    for (const stream of streams) stream.end();
    done();
  });
  server.get('/api/events', (request, reply) => {
    const { scope } = context.requireUser(request);
    if (streams.size >= listenersMax) throw new ApiError('api.unavailable', 'too many pages are listening');
    openStream(context, request, reply, scope, streams);
    return reply;
  });
}

function openStream(
  context: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
  scope: string,
  streams: Set<ServerResponse>,
): void {
  reply.hijack();
  const stream = reply.raw;
  streams.add(stream);
  stream.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  const write = (text: string): void => {
    if (stream.writableLength > unreadBytesMax) stream.destroy();
    else stream.write(text);
  };
  write(': listening\n\n');
  const waiting = new Map<string, StoredEvent>();
  const changed = new Set<ChangeName>();
  const stopListening = context.feed.listen({
    stored: (events) => {
      for (const event of events) {
        if (scope === '' || isWithin(event.path, scope)) waiting.set(event.path, event);
      }
    },
    changed: (what) => changed.add(what),
  });
  const flush = setInterval(() => {
    if (waiting.size > 0) write(`event: snapshots\ndata: ${JSON.stringify([...waiting.values()])}\n\n`);
    for (const what of changed) write(`event: changed\ndata: ${JSON.stringify({ what })}\n\n`);
    waiting.clear();
    changed.clear();
  }, batchMs);
  const heartbeat = setInterval(() => {
    write(': still here\n\n');
    // A session that ended, or a scope that was changed, ends the stream too.
    context.userNow(request).then(
      (user) => {
        if (user?.scope !== scope) stream.end();
      },
      () => undefined, // the database is away for a while; the stream says nothing new meanwhile
    );
  }, heartbeatMs);
  stream.on('close', () => {
    streams.delete(stream);
    stopListening();
    clearInterval(flush);
    clearInterval(heartbeat);
  });
}

/** @returns ends it */
function pollChanges(context: ApiContext): () => void {
  let known: ReadonlyMap<string, number> | undefined;
  let isReading = false;
  const poll = async (): Promise<void> => {
    const now = await readChanges(context.database);
    for (const what of changeNames) {
      if (known !== undefined && (now.get(what) ?? 0) !== (known.get(what) ?? 0)) context.feed.changed(what);
    }
    known = now;
  };
  const timer = setInterval(() => {
    if (isReading || context.feed.listeners === 0) return;
    isReading = true;
    poll()
      .catch(() => undefined) // the next round finds out
      .finally(() => {
        isReading = false;
      });
  }, pollMs);
  return () => clearInterval(timer);
}
