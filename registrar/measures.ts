/** What the registrar counts. */
import type { Counter, Gauge, Metrics } from '../runtime/observe.ts';

export interface RegistrarMeasures {
  readonly answered: Counter<'outcome'>;
  readonly ignored: Counter<'reason'>;
  readonly published: Counter<'pki'>;
  readonly storageFaults: Counter;
  readonly crlFaults: Counter<'pki'>;
  readonly crlNextUpdate: Gauge<'pki'>;
}

export function createMeasures(metrics: Metrics): RegistrarMeasures {
  return {
    answered: metrics.counter('plombe_registrar_answers_total', 'requests answered, each once', ['outcome']),
    ignored: metrics.counter('plombe_registrar_ignored_total', 'messages that nobody is answered for', [
      'reason',
    ]),
    published: metrics.counter(
      'plombe_registrar_crl_published_total',
      'bundles of revocation lists published',
      ['pki'],
    ),
    storageFaults: metrics.counter(
      'plombe_registrar_storage_faults_total',
      'attempts at which the disk took nothing',
    ),
    crlFaults: metrics.counter('plombe_registrar_crl_faults_total', 'bundles that were not published', [
      'pki',
    ]),
    crlNextUpdate: metrics.gauge(
      'plombe_registrar_crl_next_update_seconds',
      'Unix time when the first list is overdue',
      ['pki'],
    ),
  };
}
