/** The broker's metrics. Every refusal and every loss has a counter with its reason. */
import { createCascadeMeasures } from './cascade/cascade-measures.ts';
import type { CascadeMeasures } from './cascade/cascade-measures.ts';
import { createMetrics } from '../runtime/observe.ts';
import type { Counter, Gauge, Metrics } from '../runtime/observe.ts';
import type { PkiErrorCode } from '../pki/errors.ts';
import type { Action } from './access/tacs.ts';
import type { DeniedReason, RefusalReason } from './reasons.ts';

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
  /** Sessions whose queue cannot take more now. */
  fullQueues: number;
}

/** One set of labels' share of a tally. */
export interface Count {
  count: number;
}

interface TallyEntry<Labels> extends Count {
  readonly labels: Labels;
  handedOver: number;
}

/** A counter with labels that may be counted for every message, and that can be read. */
export class Tally<Labels extends Readonly<Record<string, string>>> {
  readonly #names: readonly (keyof Labels & string)[];
  readonly #counter: Counter;
  readonly #entries = new Map<string, TallyEntry<Labels>>();

  constructor(metrics: Metrics, name: string, help: string, names: readonly (keyof Labels & string)[]) {
    this.#names = names;
    this.#counter = metrics.counter<string>(name, help, names, () => this.#handOver());
  }

  inc(labels: Labels, by = 1): void {
    this.of(labels).count += by;
  }

  /** To be kept by whoever counts millions in a second. */
  of(labels: Labels): Count {
    const key = this.#keyOf(labels);
    let entry = this.#entries.get(key);
    if (entry === undefined) this.#entries.set(key, (entry = { labels, count: 0, handedOver: 0 }));
    return entry;
  }

  /** Since the start. */
  get entries(): Iterable<{ readonly labels: Labels; readonly count: number }> {
    return this.#entries.values();
  }

  get total(): number {
    let total = 0;
    for (const { count } of this.#entries.values()) total += count;
    return total;
  }

  #keyOf(labels: Labels): string {
    let key = '';
    for (const name of this.#names) key = key === '' ? String(labels[name]) : `${key} ${labels[name]}`;
    return key;
  }

  /** When the metrics are asked for. */
  #handOver(): void {
    for (const entry of this.#entries.values()) {
      this.#counter.inc(entry.labels, entry.count - entry.handedOver);
      entry.handedOver = entry.count;
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
  readonly fullQueues: Gauge;
  readonly queuedBytes: Gauge;
  readonly received: Counter;
  readonly sent: Counter;
  readonly refusals: Tally<{ readonly reason: RefusalReason }>;
  readonly denials: Tally<{ readonly action: Action | 'will'; readonly reason: DeniedReason | PkiErrorCode }>;
  readonly disconnects: Tally<{ readonly reason: string }>;
  readonly dropped: Tally<{ readonly reason: string }>;
  readonly cascadeConnected: Gauge;
  readonly cascadeQueued: Gauge;
  readonly cascadeForwarded: Counter<'direction'>;
  readonly cascade: CascadeMeasures;
  readonly held: Counter;
  readonly storeFailures: Counter;
  readonly storeFull: Gauge;
  readonly storeBytes: Gauge;
  readonly diskFreeBytes: Gauge;
  readonly ready: Gauge;
  readonly certificateNotAfter: Gauge;
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
    fullQueues: metrics.gauge(
      'plombe_broker_full_queues',
      'Sessions whose queue cannot take more now, and identities and accounts whose queues together cannot.',
    ),
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
      ['reason'],
    ),
    denials: new Tally(
      metrics,
      'plombe_broker_denials_total',
      'Subscriptions, messages and wills that the access control denied.',
      ['action', 'reason'],
    ),
    disconnects: new Tally(metrics, 'plombe_broker_disconnects_total', 'Ends of connections.', ['reason']),
    dropped: new Tally(metrics, 'plombe_broker_dropped_total', 'Messages that one receiver did not get.', [
      'reason',
    ]),
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
    ready: metrics.gauge('plombe_broker_ready', '1 while clients should be sent here, as /readyz says.'),
    certificateNotAfter: metrics.gauge(
      'plombe_broker_certificate_not_after_timestamp_seconds',
      'When the first certificate of its own path expires, in Unix time.',
    ),
    storeFailures: metrics.counter('plombe_broker_store_failures_total', 'Commits and reads that failed.'),
    storeFull: metrics.gauge('plombe_broker_store_full', '1 while nothing more is stored, for want of room.'),
    storeBytes: metrics.gauge('plombe_broker_store_bytes', 'Bytes of the store that hold anything.'),
    diskFreeBytes: metrics.gauge('plombe_broker_disk_free_bytes', "Bytes that are left of the store's disk."),
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
    fullQueues: 0,
  };
}
