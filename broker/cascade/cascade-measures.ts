/** The metrics of the cascade. */
import type { Counter, Gauge, Metrics } from '../../runtime/observe.ts';

export interface CascadeMeasures {
  readonly queuedBytes: Gauge;
  readonly oldestWaitingSeconds: Gauge;
  readonly roundTripSeconds: Gauge;
  readonly setAside: Gauge;
  readonly connections: Counter;
  readonly refused: Counter<'reason'>;
  readonly dropped: Counter<'reason'>;
  readonly bytes: Counter<'direction'>;
}

export function createCascadeMeasures(metrics: Metrics): CascadeMeasures {
  return {
    queuedBytes: metrics.gauge(
      'plombe_broker_cascade_queued_bytes',
      'Bytes of the messages that wait for the upstream.',
    ),
    oldestWaitingSeconds: metrics.gauge(
      'plombe_broker_cascade_oldest_waiting_seconds',
      'How long the oldest message has been waiting for the upstream.',
    ),
    roundTripSeconds: metrics.gauge(
      'plombe_broker_cascade_round_trip_seconds',
      'From a message that is sent up to its acknowledgement, of one that was measured lately.',
    ),
    setAside: metrics.gauge(
      'plombe_broker_cascade_set_aside_messages',
      'Messages that the upstream would not take and that are kept beside the queue.',
    ),
    connections: metrics.counter(
      'plombe_broker_cascade_connections_total',
      'Times that the upstream was connected.',
    ),
    refused: metrics.counter(
      'plombe_broker_cascade_refused_total',
      'Messages that the upstream would not take, and why.',
      ['reason'],
    ),
    dropped: metrics.counter(
      'plombe_broker_cascade_dropped_total',
      'Messages that did not go up, or not come down, and why.',
      ['reason'],
    ),
    bytes: metrics.counter(
      'plombe_broker_cascade_bytes_total',
      'Bytes of the messages that were carried, repetitions included.',
      ['direction'],
    ),
  };
}
