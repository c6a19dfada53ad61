/** What happens to a connection whose publisher is faster than it may be: back-pressure, and in the end the end. */
import type { Log } from '../../runtime/log.ts';
import type { Peer } from '../access/identity.ts';
import type { BrokerLimits } from '../limits.ts';
import type { Measures } from '../measures.ts';
import type { PublishRates } from '../quota/publish-rates.ts';
import { Throttle } from '../quota/throttle.ts';
import type { Turn } from '../store/turn.ts';

export interface HoldBackContext {
  readonly rates: PublishRates;
  readonly limits: BrokerLimits;
  readonly monotonicMs: () => number;
  readonly turn: Turn;
  readonly measures: Measures;
  readonly log: Log;
}

/** The connection, as far as it is read from. */
export interface Reading {
  readonly address: string | undefined;
  pause(): void;
  resume(): void;
  close(reason: string): void;
}

const reason = 'publish_rate';

export function holdBack(
  { identity }: Peer,
  clientId: string,
  { rates, limits, monotonicMs, turn, measures, log }: HoldBackContext,
  reading: Reading,
): Throttle {
  return new Throttle({
    allowance: rates.of(identity),
    overRateSeconds: () => limits.overRateSeconds,
    monotonicMs,
    onHeld: (isFirst) => {
      measures.held.inc();
      if (isFirst) log.warn({ identity, clientId, address: reading.address, reason }, 'publisher.held');
      reading.pause();
    },
    onReleased: () => reading.resume(),
    onExceeded: () => {
      measures.refusals.inc({ reason });
      log.warn({ identity, clientId, address: reading.address, reason }, 'publish.refused');
      turn.guard(() => reading.close(reason));
    },
  });
}
