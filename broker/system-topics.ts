/** The `$SYS` topics, which the administrator alone may read. */
import type { CascadeState } from './cascade/cascade.ts';
import type { Hub } from './routing/hub.ts';
import type { Traffic } from './measures.ts';

export interface SystemFacts {
  readonly hub: Hub;
  readonly name: string;
  readonly version: string;
  readonly uptimeSeconds: () => number;
  readonly connected: () => number;
  readonly sessions: () => number;
  readonly traffic: Traffic;
  /** Undefined without a cascade. */
  readonly cascade: (() => CascadeState | undefined) | undefined;
}

/** Declares what monitoring tools expect below `$SYS/broker`, and the cascade's state as JSON. */
export function declareSystemTopics(facts: SystemFacts): void {
  const { hub, cascade, traffic } = facts;
  const declare = (topic: string, value: () => string | number): void =>
    hub.declareSystemTopic(`$SYS/broker/${topic}`, () => String(value()));
  declare('name', () => facts.name);
  declare('version', () => facts.version);
  declare('uptime', () => facts.uptimeSeconds());
  declare('clients/connected', () => facts.connected());
  declare('clients/total', () => facts.sessions());
  declare('messages/received', () => traffic.received);
  declare('messages/sent', () => traffic.sent);
  declare('retained messages/count', () => hub.retainedCount);
  if (cascade !== undefined)
    declare('cascade/state', () => JSON.stringify(cascade() ?? { connected: false }));
}
