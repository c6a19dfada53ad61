/** What happens to a connection whose publisher is faster than it may be: back-pressure, and in the end the end. */
import type { Log } from '../../runtime/log.ts';
import type { Peer } from '../access/identity.ts';
import type { BrokerLimits } from '../limits.ts';
import type { Measures } from '../measures.ts';
import type { PublishRates } from '../quota/publish-rates.ts';
import { Throttle } from '../quota/throttle.ts';
import type { Turn } from '../store/turn.ts';
import type { Intake } from './intake.ts';

export interface HoldBackContext {
  readonly rates: PublishRates;
  readonly limits: BrokerLimits;
  readonly monotonicMs: () => number;
  readonly turn: Turn;
  readonly measures: Measures;
  readonly log: Log;
}

/** The connection, as far as it is known here. */
interface Publishing {
  readonly peer: Peer;
  readonly address: string | undefined;
  close(reason: string): void;
}

const reason = 'publish_rate';

export function holdBack(
  publishing: Publishing,
  clientId: string,
  { rates, limits, monotonicMs, turn, measures, log }: HoldBackContext,
  intake: Pick<Intake, 'pause' | 'resume'>,
): Throttle {
  const { identity } = publishing.peer;
  return new Throttle({
    allowance: rates.of(identity),
    overRateSeconds: () => limits.overRateSeconds,
    monotonicMs,
    onHeld: (isFirst) => {
      measures.held.inc();
      if (isFirst) log.warn({ identity, clientId, address: publishing.address, reason }, 'publisher.held');
      intake.pause('rate');
    },
    onReleased: () => intake.resume('rate'),
    onExceeded: () => {
      measures.refusals.inc({ reason });
      log.warn({ identity, clientId, address: publishing.address, reason }, 'publish.refused');
      turn.guard(() => publishing.close(reason));
    },
  });
}
