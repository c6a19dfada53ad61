/** Who may be sealed for at this moment: whoever is named, without those that are revoked. */
import type { Clock } from '../domain/clock.ts';
import type { Certificate } from '../pki/certificate.ts';
import { PkiError } from '../pki/errors.ts';
import type { RevocationLists } from '../pki/revocation-lists.ts';
import type { NamedReader } from '../policy/recipients.ts';
import type { Log } from '../runtime/log.ts';
import type { AgentConfig } from './config.ts';
import type { AgentMeasures } from './measures.ts';

export interface ReadersOptions {
  readonly lists: RevocationLists;
  readonly whenRevoked: AgentConfig['whenRecipientRevoked'];
  readonly measures: AgentMeasures;
  readonly clock: Clock;
  readonly log: Log;
}

export type ReadersErrorCode =
  | 'readers.none' // nobody is left who may read it
  | 'readers.incomplete' // somebody is left out, and then nothing is to be sealed
  | 'readers.no_policy'; // the configuration wants a policy first, and none has come

/** Nothing was sealed. It may pass: another list, another policy or another configuration. */
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
  readonly #leftOut = new Map<string, string>();

  constructor(options: ReadersOptions) {
    this.#options = options;
  }

  /** @throws ReadersError */
  admitted(named: readonly NamedReader[]): readonly Certificate[] {
    if (named.length === 0) throw new ReadersError('readers.none', 'nobody is named who may read it');
    const leftOut: string[] = [];
    const admitted = named.filter((reader) => {
      const reason = this.#refusalOf(reader);
      if (reason === undefined) this.#readmit(reader.name);
      else {
        this.leaveOut(reader.name, reason);
        leftOut.push(reader.name);
      }
      return reason === undefined;
    });
    if (leftOut.length > 0) this.#requireRest(leftOut.join(', '), admitted.length);
    return admitted.map(({ certificate }) => certificate);
  }

  /** Counts and says that somebody is not sealed for. */
  leaveOut(recipient: string, { code, message }: { readonly code: string; readonly message: string }): void {
    const { measures, log } = this.#options;
    measures.leftOut.inc({ reason: code });
    const reason = `${code}: ${message}`;
    if (this.#leftOut.get(recipient) !== reason) log.error({ recipient, reason }, 'recipient.left_out');
    this.#leftOut.set(recipient, reason);
  }

  #refusalOf({ verified }: NamedReader): PkiError | undefined {
    const { lists, clock } = this.#options;
    if (verified === undefined) return undefined; // pinned: no list names it
    try {
      lists.requireUnrevoked(verified, clock());
      return undefined;
    } catch (error) {
      if (!(error instanceof PkiError)) throw error;
      return error;
    }
  }

  #requireRest(names: string, left: number): void {
    if (this.#options.whenRevoked === 'stop')
      throw new ReadersError('readers.incomplete', `nothing is sealed without ${names}`);
    if (left === 0) throw new ReadersError('readers.none', `nobody is left without ${names}`);
  }

  #readmit(recipient: string): void {
    if (this.#leftOut.delete(recipient)) this.#options.log.info({ recipient }, 'recipient.readmitted');
  }
}
