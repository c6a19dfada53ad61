/** What a node says of itself, for health, metrics and `/state`. */

/** A node that joins has no copy of the state: it passes clients on as a front does, but cannot take over. */
export type Role = 'joining' | 'front' | 'active';

export interface MemberState {
  readonly node: string;
  readonly role: Role;
  readonly epoch: number;
  /** Of the last entry that this copy has, */
  readonly position: number;
  /** and how many it lacks, or how many Redis has not confirmed. */
  readonly lag: number;
  readonly activeNode: string | undefined;
  readonly redisConnected: boolean;
  readonly redisRoundTripMs: number;
  readonly reason: string | undefined;
}
