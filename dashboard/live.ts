/** The server's events: what arrived and what changed, without reloading. */
import type { SnapshotEvent } from './page.ts';

export interface LiveHandlers {
  snapshots(events: readonly SnapshotEvent[]): void;
  changed(what: string): void;
  /** After a break, what was missed is not told again, so the page loads itself anew. */
  connected(again: boolean): void;
  lost(): void;
}

const reconnectMs = 3000;

/** @returns closes the connection */
export function listen(handlers: LiveHandlers): () => void {
  let source: EventSource | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let wasConnected = false;
  const open = (): void => {
    source = new EventSource('/api/events');
    source.addEventListener('open', () => {
      handlers.connected(wasConnected);
      wasConnected = true;
    });
    source.addEventListener('snapshots', (event) => handlers.snapshots(parse(event) as SnapshotEvent[]));
    source.addEventListener('changed', (event) => handlers.changed((parse(event) as { what: string }).what));
    source.addEventListener('error', () => {
      handlers.lost();
      // A browser gives up after an answer other than 200, such as a proxy's 502 while the server restarts.
      if (source?.readyState !== EventSource.CLOSED) return;
      timer = setTimeout(open, reconnectMs);
    });
  };
  open();
  return () => {
    clearTimeout(timer);
    source?.close();
  };
}

function parse(event: MessageEvent): unknown {
  return JSON.parse(String(event.data));
}
