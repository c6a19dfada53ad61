/** What the backend counts, for Prometheus and for `/state`. */
import type { Counter, Gauge, Histogram, Metrics } from '../runtime/observe.ts';

export interface BackendMeasures {
  readonly stored: Counter;
  readonly redelivered: Counter;
  readonly rejected: Counter<'reason'>;
  /** By why they were kept. */
  readonly lettersDropped: Counter<'reason'>;
  readonly pauses: Counter;
  readonly openerDeaths: Counter;
  readonly storeFailures: Counter<'reason'>;
  readonly restored: Counter;
  readonly kindChanges: Counter;
  readonly gaps: Counter;
  readonly gapsOpen: Gauge;
  readonly alarms: Counter<'kind'>;
  readonly queue: Gauge;
  readonly connected: Gauge<'service'>;
  readonly databaseAvailable: Gauge;
  readonly batchEnvelopes: Histogram;
  readonly commitSeconds: Histogram;
  readonly lagSeconds: Histogram;
  readonly commands: Counter<'state'>;
  /** The same counters as plain numbers. */
  readonly tally: { stored: number; redelivered: number; readonly rejected: Record<string, number> };
}

const secondsBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];
const lagBuckets = [0.01, 0.05, 0.1, 0.5, 1, 5, 30, 60, 600, 3600, 86_400];

export function createMeasures(metrics: Metrics): BackendMeasures {
  return {
    stored: metrics.counter('plombe_backend_stored_total', 'Snapshots that were stored.'),
    redelivered: metrics.counter(
      'plombe_backend_redelivered_total',
      'Envelopes that came again and were not stored again.',
    ),
    rejected: metrics.counter(
      'plombe_backend_rejected_total',
      'Messages that were not taken, by why; what can be kept is among the dead letters.',
      ['reason'],
    ),
    lettersDropped: metrics.counter(
      'plombe_backend_letters_dropped_total',
      'Dead letters that made room for newer ones, by why they were kept.',
      ['reason'],
    ),
    pauses: metrics.counter(
      'plombe_backend_pauses_total',
      'How often reading from the broker stopped because as much as may be was not yet committed.',
    ),
    openerDeaths: metrics.counter(
      'plombe_backend_opener_deaths_total',
      'Threads that open envelopes and died; they are started again.',
    ),
    storeFailures: metrics.counter(
      'plombe_backend_store_failures_total',
      'What the database did not take and is asked again: locked, full, read_only, gone, failing, damaged.',
      ['reason'],
    ),
    restored: metrics.counter(
      'plombe_backend_database_restored_total',
      'How often the database turned out to be older than it was: what it lacks had been acknowledged.',
    ),
    kindChanges: metrics.counter(
      'plombe_backend_kind_changes_total',
      'Values of another kind (number, boolean, text) than their channel had; they are stored, and the channel changes.',
    ),
    gaps: metrics.counter(
      'plombe_backend_gaps_total',
      'How often numbers of a device turned out to be missing.',
    ),
    gapsOpen: metrics.gauge('plombe_backend_gaps_open', 'Runs of numbers that are missing.'),
    alarms: metrics.counter(
      'plombe_backend_alarms_total',
      'Numbers that were used twice (equivocation), and references to another envelope than came (chain_broken).',
      ['kind'],
    ),
    queue: metrics.gauge('plombe_backend_queue_envelopes', 'Received and not yet committed.'),
    connected: metrics.gauge('plombe_backend_connected', 'Whether the link to the broker is up.', [
      'service',
    ]),
    databaseAvailable: metrics.gauge(
      'plombe_backend_database_available',
      'Whether the database answers (1) or not (0), also while nothing is stored.',
    ),
    batchEnvelopes: metrics.histogram(
      'plombe_backend_batch_envelopes',
      'Envelopes committed together.',
      [1, 2, 4, 8, 16, 32, 64, 128, 256, 512],
    ),
    commitSeconds: metrics.histogram('plombe_backend_commit_seconds', 'Time of a commit.', secondsBuckets),
    lagSeconds: metrics.histogram('plombe_backend_lag_seconds', 'From signing to commit.', lagBuckets),
    commands: metrics.counter('plombe_backend_commands_total', 'Commands by what became of them.', ['state']),
    tally: { stored: 0, redelivered: 0, rejected: {} },
  };
}

export function countRejected(measures: BackendMeasures, reason: string): void {
  measures.rejected.inc({ reason });
  measures.tally.rejected[reason] = (measures.tally.rejected[reason] ?? 0) + 1;
}
