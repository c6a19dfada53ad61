/** What the cascade says of itself: in `/state`, below `$SYS` and in the metrics. */
import type { RefusedMessage } from './up-store.ts';

export interface CascadeState {
  readonly connected: boolean;
  /** The one of several that is connected, or was. */
  readonly upstream: string | undefined;
  readonly version: number | undefined;
  readonly connectedSinceMs: number | undefined;
  readonly queued: number;
  readonly queuedBytes: number;
  readonly inFlight: number;
  readonly oldestWaitingMs: number;
  readonly forwardedUp: number;
  readonly forwardedDown: number;
  /** Messages that the upstream would not take and that are kept beside the queue. */
  readonly refused: number;
  /** The newest of these. */
  readonly newestRefused: readonly RefusedMessage[];
}
