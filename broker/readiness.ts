/** Whether clients should be sent to this broker now (`/readyz`). */
import type { Clock } from '../domain/clock.ts';
import { PkiError } from '../pki/errors.ts';
import { requireUnrevoked } from '../pki/path.ts';
import type { RevocationIndex } from '../pki/revocation.ts';
import type { LiveSettings } from './settings.ts';
import type { Supervisor } from './supervisor.ts';

export interface ReadinessFacts {
  readonly supervisor: Pick<Supervisor, 'health' | 'state'>;
  readonly settings: LiveSettings;
  readonly revocation: RevocationIndex;
  readonly clock: Clock;
  readonly isStopping: boolean;
}

export interface Readiness {
  readonly ready: boolean;
  /** What stands against it, for a person. */
  readonly reasons: readonly string[];
  /** What a person should look at although clients are welcome. */
  readonly warnings: readonly string[];
}

export function readinessOf({
  supervisor,
  settings,
  revocation,
  clock,
  isStopping,
}: ReadinessFacts): Readiness {
  const reasons: string[] = [];
  if (isStopping) reasons.push('the broker stops');
  const { healthy, reason } = supervisor.health;
  if (!healthy) reasons.push(`no store: ${reason ?? 'unknown'}`);
  reasons.push(...certificateFaults(settings, revocation, clock()));
  const isUpstreamMissing = supervisor.state.cascade?.connected === false;
  if (settings.config.readyNeedsCascade && isUpstreamMissing) reasons.push('the upstream is not connected');
  return { ready: reasons.length === 0, reasons, warnings: warningsOf(supervisor) };
}

/** Whoever reads makes room, so a full store is no reason to keep clients away. */
function warningsOf({ state }: ReadinessFacts['supervisor']): string[] {
  const full = state.store?.full;
  return full === undefined ? [] : [`the store is full (${full}): publishers are refused`];
}

/** Where its own certificate is of no use, or its CA's list too old for the policy, a client would be turned away. */
function certificateFaults(
  { verified, stalePolicy }: LiveSettings,
  revocation: RevocationIndex,
  nowMs: number,
): string[] {
  const expired = verified.chain.find(({ notAfterMs }) => notAfterMs < nowMs);
  if (expired !== undefined) return [`the certificate of ${expired.commonName ?? 'a CA'} has expired`];
  if (revocation.size === 0) return [];
  try {
    requireUnrevoked(verified, revocation, nowMs, stalePolicy);
    return [];
  } catch (error) {
    if (!(error instanceof PkiError)) throw error;
    return [error.message];
  }
}
