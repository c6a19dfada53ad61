/** The connection upstream, as far as it takes messages. */
import type { UpDelivery } from './up-store.ts';

export interface UpOutlet {
  /** Messages that it takes unacknowledged. */
  readonly windowMax: number;
  readonly isReady: boolean;
  /** @returns bytes that were written, or why it cannot be sent at all */
  send(delivery: UpDelivery, packetId: number, duplicate: boolean): number | GiveUpReason;
  /** Calls `pump` in a later turn, for this one has done enough, or the cap says so. */
  later(delayMs: number): void;
  /** Of the bandwidth cap: milliseconds until the next message may go. */
  waitMs(): number;
}

/** How the upstream ended a connection, by whatever means: perhaps over something else than a message, or surely not. */
export type HangUp = 'hung_up' | 'hung_up_on_message';

/** What the upstream refuses is set aside, and so is all of this but a message that goes in a circle: that one is over. */
export type GiveUpReason =
  | 'packet_too_large'
  | 'not_carried' // it came when the configuration was another one
  | 'hops_exceeded';
