/** What the process with the state and its fronts say to each other, beside the link that carries the clients. */
import type { BrokerConfig } from '../config.ts';
import type { RefusalReason } from '../reasons.ts';

/** The link's file descriptor in a front, after the three of the system and the channel of these messages. */
export const linkDescriptor = 4;

export type FrontOrder =
  | {
      readonly kind: 'open' | 'reload';
      readonly config: BrokerConfig;
      readonly connectionsMax: number;
      /** Others listen on the same ports. */
      readonly sharesPorts: boolean;
    }
  /** Take no more connections; those that stand go on. */
  | { readonly kind: 'close' };

export type FrontReport =
  | { readonly kind: 'listening'; readonly port: number; readonly webSocketPort: number | undefined }
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'refused'; readonly reason: RefusalReason; readonly count: number };
