/** What is kept beside the ledger for whoever asks later: the envelopes themselves, and every policy that was in force. */
import type { Clock } from '../domain/clock.ts';
import { errorText } from '../domain/error-text.ts';
import type { Policies } from '../policy/policies.ts';
import type { Log } from '../runtime/log.ts';
import type { Archive } from './archive.ts';
import { openArchive } from './archive.ts';
import type { AuditorConfig } from './config.ts';
import type { PolicyHistory } from './policy-history.ts';
import { openPolicyHistory } from './policy-history.ts';

export interface Kept {
  /** Undefined: the configuration wants none. */
  readonly archive: Archive | undefined;
  readonly policyHistory: PolicyHistory;
  close(): void;
}

const bytesPerMegabyte = 1_000_000;

/** Follows the policies from now on. @throws SqliteFileError */
export function openKept(
  { data, archive: settings }: Pick<AuditorConfig, 'data' | 'archive'>,
  policies: Policies,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): Kept {
  const { days, megabytes } = settings;
  const archive =
    days === 0
      ? undefined
      : openArchive({ directory: data, days, bytesMax: megabytes * bytesPerMegabyte, clock, log });
  const policyHistory = openPolicyHistory(data);
  const note = (): void => {
    try {
      for (const { policy, signer, signedAtMs } of policies.signed()) {
        policyHistory.note({ policy, signer: signer.commonName, signedMs: signedAtMs, takenMs: clock() });
      }
    } catch (error) {
      // It holds all the same; the next one, or the next start, notes it.
      log.error({ detail: errorText(error) }, 'policy.not_noted');
    }
  };
  note();
  policies.onChanged(note);
  return {
    archive,
    policyHistory,
    close: () => {
      archive?.close();
      policyHistory.close();
    },
  };
}
