/** Server-Sent Events: what changed, a few times a second; the page asks for what it shows. */
import type { FastifyInstance } from 'fastify';
import { registerEventStream } from '../../web/event-stream.ts';
import type { Send } from '../../web/event-stream.ts';
import type { PageContext } from './context.ts';

/** Numbers in memory are compared this often. */
const checkMs = 250;
const bounds = { listenersMax: 100, unreadBytesMax: 64 * 1024 } as const;

export function registerEvents(server: FastifyInstance, context: PageContext): void {
  const listeners = new Set<Send>();
  let known = revisions(context);
  const check = setInterval(() => {
    const now = revisions(context);
    for (const [what, revision] of now) {
      if (known.get(what) === revision) continue;
      for (const send of listeners) send('changed', { what });
    }
    known = now;
  }, checkMs);
  check.unref();
  server.addHook('preClose', (done) => {
    clearInterval(check);
    done();
  });
  registerEventStream(server, context, bounds, (_person, send) => {
    listeners.add(send);
    return () => listeners.delete(send);
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
