/** Keeps the cascade's session subscribed to what goes up, and to nothing else. */
import type { Hub } from '../routing/hub.ts';
import type { Session, Subscription } from '../routing/session.ts';
import type { Sessions } from '../routing/sessions.ts';
import type { Mapping } from './topic-map.ts';

const subscription: Subscription = {
  qos: 1,
  noLocal: false,
  retainAsPublished: true,
  identifier: undefined,
};

/** What is retained under a filter that is new goes up as well. */
export function subscribeToCarried(
  session: Session,
  up: readonly Mapping[],
  { sessions, hub }: { readonly sessions: Sessions; readonly hub: Hub },
): void {
  const wanted = new Set(up.map(({ local }) => local));
  for (const filter of session.subscriptions.keys()) {
    if (!wanted.has(filter)) sessions.unsubscribe(session, filter);
  }
  for (const filter of wanted) {
    if (session.subscriptions.has(filter)) continue;
    sessions.subscribe(session, filter, subscription);
    hub.replay(session, filter, subscription);
  }
}
