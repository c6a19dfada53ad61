/** Server-Sent Events: what was stored and what changed, within the scope of who listens, a few times a second. */
import type { FastifyInstance } from 'fastify';
import { changeNames, readChanges } from '../../database/changes.ts';
import type { ChangeName } from '../../database/changes.ts';
import { isWithin } from '../../domain/namespace.ts';
import { registerEventStream } from '../../web/event-stream.ts';
import type { Send } from '../../web/event-stream.ts';
import type { StoredEvent } from '../feed.ts';
import type { ApiContext } from './context.ts';

/** The first at once, and what follows it together: what is seen should be there within a second of what caused it. */
const batchMs = 200;
/** What other programs change in the database is looked for this often, while somebody listens. */
const pollMs = 1000;
const bounds = { listenersMax: 500, unreadBytesMax: 1024 * 1024 } as const;

export function registerEvents(server: FastifyInstance, context: ApiContext): void {
  const stopPolling = pollChanges(context);
  server.addHook('preClose', (done) => {
    stopPolling();
    done();
  });
  registerEventStream(server, context, bounds, ({ scope }, send) => follow(context, scope, send));
}

/** @returns ends it */
function follow({ feed }: ApiContext, scope: string, send: Send): () => void {
  const waiting = new Map<string, StoredEvent>();
  const changed = new Set<ChangeName>();
  let timer: NodeJS.Timeout | undefined;
  let sentMs = -Infinity;
  const flush = (): void => {
    timer = undefined;
    sentMs = performance.now();
    if (waiting.size > 0) send('snapshots', [...waiting.values()]);
    for (const what of changed) send('changed', { what });
    waiting.clear();
    changed.clear();
  };
  const flushSoon = (): void => {
    timer ??= setTimeout(flush, Math.max(0, sentMs + batchMs - performance.now()));
  };
  const stopListening = feed.listen({
    stored: (events) => {
      for (const event of events) {
        if (scope === '' || isWithin(event.path, scope)) waiting.set(event.path, event);
      }
      if (waiting.size > 0) flushSoon();
    },
    changed: (what) => {
      changed.add(what);
      flushSoon();
    },
  });
  return () => {
    stopListening();
    clearTimeout(timer);
  };
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
