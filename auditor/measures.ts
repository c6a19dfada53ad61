/** What of the auditor is read when somebody asks: what waits, and how far the ledger is. */
import type { Clock } from '../domain/clock.ts';
import type { Gauge, Metrics } from '../runtime/observe.ts';
import type { Gate } from './gate.ts';
import type { EgressRecord } from './record.ts';

export interface Measured {
  readonly record: EgressRecord;
  /** Undefined for an auditor that only looks on. */
  readonly gate: Pick<Gate, 'size' | 'oldestMs'> | undefined;
  /** Leaves. */
  readonly countersigned: () => number;
  readonly clock: Clock;
}

export function measureAuditor(metrics: Metrics, { record, gate, countersigned, clock }: Measured): void {
  const measure = (name: string, help: string, read: () => number): void => {
    const gauge: Gauge = metrics.gauge(`plombe_auditor_${name}`, help, [], () => gauge.set(read()));
  };
  measure('held_envelopes', 'envelopes and commands that wait for a person', () => gate?.size ?? 0);
  measure('held_oldest_seconds', 'how long the oldest of them has waited', () => {
    const sinceMs = gate?.oldestMs;
    return sinceMs === undefined ? 0 : Math.max(0, clock() - sinceMs) / 1000;
  });
  measure('ledger_leaves', 'leaves of the ledger', () => record.head.size);
  measure('ledger_bytes', 'octets of the ledger', () => record.bytes);
  measure('countersigned_leaves', 'leaves that the vendor has signed for', countersigned);
  measure('countersigned_lag_leaves', 'leaves that the vendor has not signed for yet', () =>
    Math.max(0, record.head.size - countersigned()),
  );
  measure('gaps_open', 'runs of numbers that are missing', () => record.index.numbers.gapCount);
}
