/** Who may read what a device sends, at this moment: the configured recipients without those that are revoked. */
import type { Clock } from '../domain/clock.ts';
import type { Certificate } from '../pki/certificate.ts';
import { PkiError } from '../pki/errors.ts';
import type { VerifiedIdentity } from '../pki/path.ts';
import type { RevocationLists } from '../pki/revocation-lists.ts';
import type { Log } from '../runtime/log.ts';
import type { AgentConfig } from './config.ts';
import type { AgentMeasures } from './measures.ts';

export interface ReadersOptions {
  readonly recipients: readonly VerifiedIdentity[];
  readonly lists: RevocationLists;
  readonly whenRevoked: AgentConfig['whenRecipientRevoked'];
  readonly measures: AgentMeasures;
  readonly clock: Clock;
  readonly log: Log;
}

export type ReadersErrorCode =
  | 'readers.none' // nobody is left who may read it
  | 'readers.incomplete'; // somebody is left out, and then nothing is to be sealed

/** Nothing was sealed. It may pass: another list or another configuration. */
export class ReadersError extends Error {
  override readonly name = 'ReadersError';
  readonly code: ReadersErrorCode;
  constructor(code: ReadersErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

export class Readers {
  readonly #options: ReadersOptions;
  /** Who was left out last, and why, so that each is said once. */
  #leftOut = new Map<string, string>();

  constructor(options: ReadersOptions) {
    this.#options = options;
  }

  /** @throws ReadersError */
  current(): readonly Certificate[] {
    const { recipients, whenRevoked } = this.#options;
    const leftOut = new Map<string, string>();
    const readers = recipients.flatMap((recipient) => {
      const reason = this.#refusalOf(recipient);
      if (reason === undefined) return [recipient.certificate];
      leftOut.set(recipient.commonName, reason);
      return [];
    });
    this.#say(leftOut);
    if (recipients.length === 0)
      throw new ReadersError('readers.none', 'nobody is configured who may read it');
    if (leftOut.size === 0) return readers;
    const names = [...leftOut.keys()].join(', ');
    if (whenRevoked === 'stop')
      throw new ReadersError('readers.incomplete', `nothing is sealed without ${names}`);
    if (readers.length === 0) throw new ReadersError('readers.none', `nobody is left without ${names}`);
    return readers;
  }

  #refusalOf(recipient: VerifiedIdentity): string | undefined {
    const { lists, clock, measures } = this.#options;
    try {
      lists.requireUnrevoked(recipient, clock());
      return undefined;
    } catch (error) {
      if (!(error instanceof PkiError)) throw error;
      measures.leftOut.inc({ reason: error.code });
      return `${error.code}: ${error.message}`;
    }
  }

  #say(leftOut: Map<string, string>): void {
    const { log } = this.#options;
    for (const [recipient, reason] of leftOut) {
      if (this.#leftOut.get(recipient) !== reason) log.error({ recipient, reason }, 'recipient.left_out');
    }
    for (const recipient of this.#leftOut.keys()) {
      if (!leftOut.has(recipient)) log.info({ recipient }, 'recipient.readmitted');
    }
    this.#leftOut = leftOut;
  }
}
