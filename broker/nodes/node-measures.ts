/** The metrics of one node of several. */
import type { Gauge, Metrics } from '../../runtime/observe.ts';
import type { MemberState } from './member-state.ts';

export interface NodeMeasures {
  /** Takes over what a node says of itself. */
  set(state: MemberState): void;
}

export function createNodeMeasures(metrics: Metrics): NodeMeasures {
  const gauge = (name: string, help: string): Gauge => metrics.gauge(`plombe_broker_node_${name}`, help);
  const active = gauge('active', '1 on the node that has the state, 0 on one that passes its clients there.');
  const epoch = gauge('epoch', 'Grows with each change of the active node.');
  const position = gauge('log_position', 'Last entry of the shared log that this copy has.');
  const lag = gauge(
    'log_lag_entries',
    'Entries that this copy lacks, or on the active node those that Redis has not confirmed.',
  );
  const redis = gauge('redis_connected', '1 while Redis answers.');
  const roundTrip = gauge('redis_round_trip_seconds', 'Time that Redis took for the last entries.');
  return {
    set: (state) => {
      active.set(state.role === 'active' ? 1 : 0);
      epoch.set(state.epoch);
      position.set(state.position);
      lag.set(state.lag);
      redis.set(state.redisConnected ? 1 : 0);
      roundTrip.set(state.redisRoundTripMs / 1000);
    },
  };
}
