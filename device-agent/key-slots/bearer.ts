/** Between whoever keeps a device's keys and whoever works with them. */
import type { Clock } from '../../domain/clock.ts';
import type { LinkOptions } from '../../mqtt/link.ts';
import type { Endpoint } from '../../runtime/config.ts';
import type { Log } from '../../runtime/log.ts';
import type { BackoffLimits } from '../../runtime/retry.ts';
import { createWait } from '../../runtime/wait.ts';
import type { AgentMeasures } from '../measures.ts';
import { KeySlotsError } from './errors.ts';
import type { HeldIdentity } from './held-identity.ts';
import type { Place } from './place.ts';

/** Which broker, and whether its certificate is revoked: new keys prove nothing at one that is. */
export interface BrokerOfDevice extends Required<Pick<LinkOptions, 'requireUnrevoked'>> {
  readonly broker: Endpoint;
  readonly brokerName: string | readonly string[];
}

/** Whoever works under the identity that is kept here. */
export interface Bearer {
  identity(): HeldIdentity;
  brokerOf(identity: HeldIdentity): BrokerOfDevice;
  /** Works with another identity of the same name from now on. @throws PkiError, and then it stays who it was */
  adopt(next: HeldIdentity): Promise<void>;
  /** Resolves when a broker has acknowledged something that was sealed after the last `adopt`. */
  proven(): Promise<void>;
  /** Resolves when nothing waits that was sealed before the last `adopt`. */
  relieved(): Promise<void>;
  /** The one before is gone. */
  forgetFormer(): void;
  /** Works in another place from now on. @throws PkiError, and then it stays where it was */
  move(next: HeldIdentity): Promise<void>;
  /** Resolves when all that was sealed in the former place is delivered. */
  deliverFormer(former: HeldIdentity): Promise<void>;
  /** The move is over. @returns how many envelopes of the former place nobody took */
  leaveFormer(place: Place): Promise<number>;
}

/** How long things may take. */
export interface KeyTimes {
  readonly answerMs: number;
  readonly trialMs: number;
  /** For what waits when a device changes hands. */
  readonly deliveryMs: number;
  readonly retry: BackoffLimits;
}

export const keyTimes: KeyTimes = {
  answerMs: 10 * 60_000,
  trialMs: 60_000,
  deliveryMs: 10 * 60_000,
  retry: { firstMs: 60_000, maxMs: 24 * 3_600_000 },
};

export interface KeysOptions {
  /** The identity directory. */
  readonly root: string;
  readonly passphraseFile: string | undefined;
  readonly renewal: {
    readonly enabled: boolean;
    readonly atFraction: number;
    /** Once, whatever else is said. */
    readonly isDueNow?: boolean;
  };
  readonly bearer: Bearer;
  readonly agentVersion: string;
  readonly measures: AgentMeasures;
  readonly clock: Clock;
  /** From 0 to 1. */
  readonly random: () => number;
  readonly times: KeyTimes;
  readonly log: Log;
  readonly reconnect: BackoffLimits | undefined;
}

export interface KeysContext extends KeysOptions {
  /** Aborted when the agent ends. */
  readonly signal: AbortSignal;
}

/**
 * @param patienceMs - default: as long as it takes
 * @returns when the work is done, or patience is over
 * @throws KeySlotsError `slots.stopped`
 */
export async function patiently(
  work: Promise<void>,
  signal: AbortSignal,
  patienceMs: number = Number.MAX_SAFE_INTEGER,
): Promise<void> {
  const over = new AbortController();
  const wait = createWait(AbortSignal.any([signal, over.signal]));
  try {
    await Promise.race([work, wait(patienceMs)]);
  } finally {
    over.abort();
  }
  if (signal.aborted) throw new KeySlotsError('slots.stopped', 'the agent ends');
}
