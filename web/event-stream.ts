/** Server-Sent Events for pages: bounded in number and in what a slow page leaves unread, and ended with the session. */
import type { ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { ApiError } from './api-error.ts';
import type { Account, Sessions } from './session.ts';

export interface EventStreamBounds {
  readonly listenersMax: number;
  /** A page that reads so slowly is cut off; it connects again and asks anew. */
  readonly unreadBytesMax: number;
}

/** @param data - as JSON */
export type Send = (event: string, data: unknown) => void;

const heartbeatMs = 15_000;

/**
 * Serves `/api/events`.
 *
 * @param follow - sends what happens to whoever listens; returns what ends it
 */
export function registerEventStream<User extends Account>(
  server: FastifyInstance,
  sessions: Sessions<User>,
  { listenersMax, unreadBytesMax }: EventStreamBounds,
  follow: (user: User, send: Send) => () => void,
): void {
  const streams = new Set<ServerResponse>();
  server.addHook('preClose', (done) => {
    for (const stream of streams) stream.end();
    done();
  });
  server.get('/api/events', (request, reply) => {
    const user = sessions.requireUser(request);
    if (streams.size >= listenersMax) throw new ApiError('api.unavailable', 'too many pages are listening');
    reply.hijack();
    const stream = reply.raw;
    const write = (text: string): void => {
      if (stream.writableLength > unreadBytesMax) stream.destroy();
      else stream.write(text);
    };
    streams.add(stream);
    stream.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    write(': listening\n\n');
    const unfollow = follow(user, (event, data) =>
      write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`),
    );
    const heartbeat = setInterval(() => {
      write(': still here\n\n');
      // A session that ended, or rights that were changed, end the stream too.
      sessions.userNow(request).then(
        (now) => {
          if (now?.role !== user.role || now.scope !== user.scope) stream.end();
        },
        () => undefined, // what keeps the sessions is away for a moment; the next round asks again
      );
    }, heartbeatMs);
    stream.on('close', () => {
      streams.delete(stream);
      unfollow();
      clearInterval(heartbeat);
    });
    return reply;
  });
}
