/** What the agent counts. */
import type { Counter, Gauge, Metrics } from '../runtime/observe.ts';

export interface AgentMeasures {
  readonly sealed: Counter;
  readonly delivered: Counter;
  readonly rejected: Counter<'reason'>;
  readonly commands: Counter<'outcome'>;
  readonly refusedCommands: Counter<'reason'>;
  readonly leftOut: Counter<'reason'>;
  readonly withheld: Counter<'reason'>;
  readonly pending: Gauge;
  readonly notAfter: Gauge<'device'>;
  readonly renewals: Counter<'outcome'>;
  readonly handOvers: Counter<'outcome'>;
}

export function agentMeasures(metrics: Metrics): AgentMeasures {
  return {
    sealed: metrics.counter(
      'plombe_agent_sealed_total',
      'envelopes of snapshots sealed and stored in the outbox',
    ),
    delivered: metrics.counter('plombe_agent_delivered_total', 'envelopes that the broker acknowledged'),
    rejected: metrics.counter('plombe_agent_rejected_total', 'lines and samples left out', ['reason']),
    commands: metrics.counter('plombe_agent_commands_total', 'commands answered', ['outcome']),
    refusedCommands: metrics.counter(
      'plombe_agent_refused_commands_total',
      'messages on the command topic that were no command for us',
      ['reason'],
    ),
    leftOut: metrics.counter(
      'plombe_agent_recipients_left_out_total',
      'recipients that an envelope was not sealed for',
      ['reason'],
    ),
    withheld: metrics.counter(
      'plombe_agent_withheld_total',
      'times that a group of readers got nothing of a snapshot, as its policy wants',
      ['reason'],
    ),
    pending: metrics.gauge('plombe_agent_pending_envelopes', 'envelopes that wait in the outbox'),
    notAfter: metrics.gauge(
      'plombe_agent_certificate_not_after_timestamp_seconds',
      "when the first of a device's certificates expires, in Unix time",
      ['device'],
    ),
    renewals: metrics.counter(
      'plombe_agent_renewals_total',
      'renewals of certificates: done, or attempts that were refused or failed',
      ['outcome'],
    ),
    handOvers: metrics.counter(
      'plombe_agent_hand_overs_total',
      'devices that follow a transfer: done, or attempts that were refused or failed',
      ['outcome'],
    ),
  };
}
