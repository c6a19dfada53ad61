/** The broker's metrics. Every refusal and every loss has a counter with its reason. */
import { createCascadeMeasures } from './cascade/cascade-measures.ts';
import type { CascadeMeasures } from './cascade/cascade-measures.ts';
import { createMetrics } from '../runtime/observe.ts';
import type { Counter, Gauge, Metrics } from '../runtime/observe.ts';

/** Counted without the cost of a labelled counter, because every packet passes here. */
export interface Traffic {
  /** PUBLISH packets that were accepted. */
  received: number;
  receivedPayloadBytes: number;
  /** PUBLISH packets that were sent, repetitions included. */
  sent: number;
  sentPayloadBytes: number;
  /** Packets of every type. */
  packetsReceived: number;
  packetsSent: number;
  bytesReceived: number;
  bytesSent: number;
  connections: number;
  /** Most clients at once. */
  connectedMax: number;
  sessionsExpired: number;
}

/** A counter with one label that may be counted for every message, and that can be read. */
export class Tally<L extends string> {
  readonly #label: L;
  readonly #counter: Counter<L>;
  readonly #counts = new Map<string, number>();
  readonly #handedOver = new Map<string, number>();

  constructor(metrics: Metrics, name: string, help: string, label: L) {
    this.#label = label;
    this.#counter = metrics.counter(name, help, [label], () => this.#handOver());
  }

  inc(labels: Readonly<Record<L, string>>, by = 1): void {
    const value = labels[this.#label];
    this.#counts.set(value, (this.#counts.get(value) ?? 0) + by);
  }

  /** By value of the label, since the start. */
  get totals(): ReadonlyMap<string, number> {
    return this.#counts;
  }

  get total(): number {
    let total = 0;
    for (const count of this.#counts.values()) total += count;
    return total;
  }

  /** When the metrics are asked for. */
  #handOver(): void {
    for (const [value, count] of this.#counts) {
      const labels = { [this.#label]: value } as Record<L, string>;
      this.#counter.inc(labels, count - (this.#handedOver.get(value) ?? 0));
      this.#handedOver.set(value, count);
    }
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
  readonly refusals: Tally<'reason'>;
  readonly denials: Tally<'action'>;
  readonly disconnects: Tally<'reason'>;
  readonly dropped: Tally<'reason'>;
  readonly cascadeConnected: Gauge;
  readonly cascadeQueued: Gauge;
  readonly cascadeForwarded: Counter<'direction'>;
  readonly cascade: CascadeMeasures;
  readonly held: Counter;
  readonly storeFailures: Counter;
  readonly reloads: Counter<'outcome'>;
}

export function createMeasures(): Measures {
  const metrics = createMetrics();
  return {
    metrics,
    traffic: noTraffic(),
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
    refusals: new Tally(
      metrics,
      'plombe_broker_refusals_total',
      'Connections, sessions and messages that were refused.',
      'reason',
    ),
    denials: new Tally(
      metrics,
      'plombe_broker_denials_total',
      'Subscriptions, messages and wills that the access control denied.',
      'action',
    ),
    disconnects: new Tally(metrics, 'plombe_broker_disconnects_total', 'Ends of connections.', 'reason'),
    dropped: new Tally(
      metrics,
      'plombe_broker_dropped_total',
      'Messages that one receiver did not get.',
      'reason',
    ),
    cascadeConnected: metrics.gauge(
      'plombe_broker_cascade_connected',
      '1 while the upstream broker is connected.',
    ),
    cascadeQueued: metrics.gauge(
      'plombe_broker_cascade_queued_messages',
      'Messages that wait for the upstream.',
    ),
    cascade: createCascadeMeasures(metrics),
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

function noTraffic(): Traffic {
  return {
    received: 0,
    receivedPayloadBytes: 0,
    sent: 0,
    sentPayloadBytes: 0,
    packetsReceived: 0,
    packetsSent: 0,
    bytesReceived: 0,
    bytesSent: 0,
    connections: 0,
    connectedMax: 0,
    sessionsExpired: 0,
  };
}
