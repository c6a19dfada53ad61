/** How much may wait for the upstream, for how long, and what happens beyond. */
import type { BrokerLimits } from '../limits.ts';
import type { UpQueueConfig } from './cascade-config.ts';

export interface UpBounds {
  readonly messagesMax: number;
  readonly bytesMax: number;
  /** Undefined: a message waits as long as it takes. */
  readonly ageMsMax: number | undefined;
  /** Hang-ups on one message that went alone, before it is set aside. */
  readonly hangUpsMax: number;
  /** Undefined: as the broker does for every other queue. */
  readonly whenFull: 'refuse' | 'drop-oldest' | undefined;
}

/** @param config - undefined while there is no upstream */
export function upBounds(
  config: UpQueueConfig | undefined,
  limits: Pick<BrokerLimits, 'queuedMessagesMax' | 'queuedBytesMax'>,
): UpBounds {
  const { messagesMax, bytesMax, ageHoursMax, hangUpsMax = Infinity, whenFull } = config ?? {};
  return {
    messagesMax: messagesMax ?? limits.queuedMessagesMax,
    bytesMax: bytesMax ?? limits.queuedBytesMax,
    ageMsMax: ageHoursMax === undefined ? undefined : ageHoursMax * 3_600_000,
    hangUpsMax,
    whenFull,
  };
}
