/** The broker's metrics. Every refusal and every loss has a counter with its reason. */
import { createMetrics } from '../runtime/observe.ts';
import type { Counter, Gauge, Metrics } from '../runtime/observe.ts';

/** Counted without the cost of a labelled counter, because every message passes here. */
export interface Traffic {
  received: number;
  sent: number;
}

/** The same with a label: to be counted for every message, too, and copied into a counter now and then. */
export class Tally<L extends string> {
  readonly #counts = new Map<string, number>();
  readonly #label: L;
  readonly #counter: Counter<L>;

  constructor(label: L, counter: Counter<L>) {
    this.#label = label;
    this.#counter = counter;
  }

  inc(labels: Readonly<Record<L, string>>, by = 1): void {
    const value = labels[this.#label];
    this.#counts.set(value, (this.#counts.get(value) ?? 0) + by);
  }

  /** Hands the counter what was counted since the last time. Called every second. */
  flush(): void {
    for (const [value, count] of this.#counts) {
      this.#counter.inc({ [this.#label]: value } as Record<L, string>, count);
    }
    this.#counts.clear();
  }
}

export interface Measures {
  readonly metrics: Metrics;
  readonly traffic: Traffic;
  readonly connections: Gauge;
  readonly sessions: Gauge;
  readonly retained: Gauge;
  readonly queuedMessages: Gauge;
  readonly queuedBytes: Gauge;
  readonly received: Counter;
  readonly sent: Counter;
  readonly refusals: Counter<'reason'>;
  readonly denials: Counter<'action'>;
  readonly disconnects: Counter<'reason'>;
  readonly dropped: Tally<'reason'>;
  readonly cascadeConnected: Gauge;
  readonly cascadeQueued: Gauge;
  readonly cascadeForwarded: Counter<'direction'>;
  readonly held: Counter;
  readonly storeFailures: Counter;
  readonly reloads: Counter<'outcome'>;
}

export function createMeasures(): Measures {
  const metrics = createMetrics();
  return {
    metrics,
    traffic: { received: 0, sent: 0 },
    connections: metrics.gauge('plombe_broker_connections', 'Clients that are connected now.'),
    sessions: metrics.gauge('plombe_broker_sessions', 'Sessions, connected or stored.'),
    retained: metrics.gauge('plombe_broker_retained_messages', 'Retained messages.'),
    queuedMessages: metrics.gauge(
      'plombe_broker_queued_messages',
      'Unacknowledged messages of all sessions.',
    ),
    queuedBytes: metrics.gauge('plombe_broker_queued_bytes', 'Bytes of the unacknowledged messages.'),
    received: metrics.counter('plombe_broker_messages_received_total', 'PUBLISH packets that were accepted.'),
    sent: metrics.counter(
      'plombe_broker_messages_sent_total',
      'PUBLISH packets that were sent, repetitions included.',
    ),
    refusals: metrics.counter(
      'plombe_broker_refusals_total',
      'Connections, sessions and messages that were refused.',
      ['reason'],
    ),
    denials: metrics.counter(
      'plombe_broker_denials_total',
      'Subscriptions, messages and wills that the access control denied.',
      ['action'],
    ),
    disconnects: metrics.counter('plombe_broker_disconnects_total', 'Ends of connections.', ['reason']),
    dropped: new Tally(
      'reason',
      metrics.counter('plombe_broker_dropped_total', 'Messages that one receiver did not get.', ['reason']),
    ),
    cascadeConnected: metrics.gauge(
      'plombe_broker_cascade_connected',
      '1 while the upstream broker is connected.',
    ),
    cascadeQueued: metrics.gauge(
      'plombe_broker_cascade_queued_messages',
      'Messages that wait for the upstream.',
    ),
    cascadeForwarded: metrics.counter(
      'plombe_broker_cascade_forwarded_total',
      'Messages that the other side has for certain.',
      ['direction'],
    ),
    held: metrics.counter(
      'plombe_broker_publishers_held_total',
      'Times that a connection was not read from, because more was published than may be.',
    ),
    storeFailures: metrics.counter('plombe_broker_store_failures_total', 'Commits and reads that failed.'),
    reloads: metrics.counter('plombe_broker_reloads_total', 'Configurations that were read again.', [
      'outcome',
    ]),
  };
}
