/** Revocation while the broker runs: lists from files and from `vendor/crl/tls`, applied to connections that stand. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { Certificate } from '../../pki/certificate.ts';
import { tlsCrlTopic } from '../../pki/broker-lists.ts';
import { crlBundleToPem, restoreFromBundle, updateFromBundle } from '../../pki/crl-bundle.ts';
import { PkiError } from '../../pki/errors.ts';
import { RevocationIndex } from '../../pki/revocation.ts';
import { describeSystemError } from '../../runtime/config.ts';
import { writeFileAtomically } from '../../runtime/files.ts';
import type { Log } from '../../runtime/log.ts';
import { inFile, readTextFile } from '../../pki/pem-file.ts';
import type { Hub } from '../routing/hub.ts';
import type { PeerVerifier } from './identity.ts';

const keptFile = 'tls-crl.pem';

/** @throws PkiError naming the file, for a configured list must be good */
export function loadCrlFiles(
  index: RevocationIndex,
  files: readonly string[],
  roots: readonly Certificate[],
): void {
  for (const file of files) loadCrlFile(index, file, roots);
}

/**
 * Takes over what is newer in the files than what is held; a file that is older than what came by MQTT in the meantime
 * is said to be so.
 *
 * @throws PkiError naming the file, for any other fault in a list
 */
export function refreshCrlFiles(
  index: RevocationIndex,
  files: readonly string[],
  roots: readonly Certificate[],
  log: Log,
): { readonly updated: number } {
  let updated = 0;
  for (const file of files) {
    try {
      updated += loadCrlFile(index, file, roots);
    } catch (error) {
      if (!(error instanceof PkiError) || error.code !== 'pki.crl_rollback') throw error;
      log.warn({ reason: error.code, detail: error.message }, 'crl.refused');
    }
  }
  return { updated };
}

/** @returns how many lists were newer */
function loadCrlFile(index: RevocationIndex, file: string, roots: readonly Certificate[]): number {
  return inFile(file, () => updateFromBundle(index, readTextFile(file), roots).updated);
}

/**
 * Takes over what was kept and is newer than what is held. The retained message alone would not do: whoever may write it
 * can put an older one in its place, or none.
 *
 * @throws PkiError naming the file, if it is damaged
 */
function restoreCrls(index: RevocationIndex, directory: string): void {
  const file = path.join(directory, keptFile);
  if (!existsSync(file)) return;
  const kept = new RevocationIndex();
  inFile(file, () => restoreFromBundle(kept, readTextFile(file)));
  for (const { authority, crl } of kept.lists()) {
    if (crl.number > (index.crlOf(authority)?.number ?? -1)) index.add(crl, authority);
  }
}

/** Keeps what is held in the broker's data folder, over restarts. */
export function keepCrls(index: RevocationIndex, directory: string, log: Log): void {
  const file = path.join(directory, keptFile);
  try {
    writeFileAtomically(file, crlBundleToPem(index.lists()));
  } catch (error) {
    // They count all the same; after a restart they come again, unless somebody holds them back.
    log.error({ reason: 'not_kept', detail: `${file}: ${describeSystemError(error)}` }, 'crl.refused');
  }
}

export interface CrlWatchOptions {
  /** The broker's data. */
  readonly directory: string;
  readonly hub: Hub;
  readonly index: RevocationIndex;
  readonly verifier: PeerVerifier;
  readonly roots: () => readonly Certificate[];
  readonly connections: Iterable<RevocableConnection>;
  readonly log: Log;
}

export interface RevocableConnection {
  readonly peer: Parameters<PeerVerifier['recheck']>[0];
  close(reason: string): void;
}

/**
 * Takes over every list that arrives, and closes whoever is revoked by it.
 *
 * @throws PkiError naming the file, if what was kept is damaged: without it an older list could pass for a newer one
 */
export function watchCrls(options: CrlWatchOptions): void {
  const { directory, hub, index, roots, log } = options;
  const apply = (payload: Buffer): void => {
    if (payload.length === 0) return; // the retained message was deleted; what is revoked stays revoked
    try {
      const { updated } = updateFromBundle(index, payload, roots());
      if (updated > 0) {
        log.info({ updated }, 'crl.applied');
        keepCrls(index, directory, log);
      }
    } catch (error) {
      if (!(error instanceof PkiError)) throw error;
      log.error({ reason: error.code, detail: error.message }, 'crl.refused');
      return;
    }
    closeRevoked(options);
  };
  restoreCrls(index, directory);
  const retained = hub.retainedPayload(tlsCrlTopic);
  if (retained !== undefined) apply(retained);
  hub.observe(tlsCrlTopic, apply);
}

/** Closes every connection whose certificate is revoked, or whose list is too old for the policy, by now. */
export function closeRevoked(options: Pick<CrlWatchOptions, 'verifier' | 'connections' | 'log'>): void {
  for (const connection of options.connections) {
    try {
      options.verifier.recheck(connection.peer);
    } catch (error) {
      if (!(error instanceof PkiError)) throw error;
      options.log.warn(
        { identity: connection.peer.identity, reason: error.code, detail: error.message },
        'connection.refused',
      );
      connection.close(error.code);
    }
  }
}
