/** The options that name whose keys sign, and the keys. */
import type { Command } from 'commander';
import { systemClock } from '../domain/clock.ts';
import { loadIdentity } from '../pki/identity.ts';
import type { Identity } from '../pki/identity.ts';

export interface SignerOptions {
  readonly identity: string;
  readonly passphraseFile?: string;
}

export function withSigner(command: Command, whose: string): Command {
  return command
    .requiredOption('--identity <directory>', `the keys of ${whose}`)
    .option('--passphrase-file <file>', 'its first line opens them');
}

/** @throws PkiError of `loadIdentity` */
export function signerOf({ identity, passphraseFile }: SignerOptions): Identity {
  return loadIdentity(identity, { passphraseFile, nowMs: systemClock() });
}
