/** What the agent counts. */
import type { Counter, Gauge, Metrics } from '../runtime/observe.ts';

export interface AgentMeasures {
  readonly sealed: Counter;
  readonly delivered: Counter;
  readonly rejected: Counter<'reason'>;
  readonly commands: Counter<'outcome'>;
  readonly refusedCommands: Counter<'reason'>;
  readonly leftOut: Counter<'reason'>;
  readonly pending: Gauge;
}

export function agentMeasures(metrics: Metrics): AgentMeasures {
  return {
    sealed: metrics.counter('plombe_agent_sealed_total', 'snapshots sealed and stored in the outbox'),
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
      'configured recipients that an envelope was not sealed for',
      ['reason'],
    ),
    pending: metrics.gauge('plombe_agent_pending_envelopes', 'envelopes that wait in the outbox'),
  };
}
