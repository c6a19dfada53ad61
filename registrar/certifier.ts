/** Certifies what was accepted. What was signed is kept here until it is in the journal, so nothing is signed twice. */
import assert from 'node:assert/strict';
import { readSignedContent } from '../cms/signed-content.ts';
import { decodeEnrolmentRequest } from '../domain/enrolment.ts';
import type { EnrolmentReply } from '../domain/enrolment.ts';
import type { Authority } from '../pki/authority/authority.ts';
import type { CertifyRequest } from '../pki/authority/requests.ts';
import type { Certificate } from '../pki/certificate.ts';
import { PkiError } from '../pki/errors.ts';
import { parseRequest } from '../pki/request.ts';
import type { Log } from '../runtime/log.ts';
import type { Answer, Entry, Journal } from './journal.ts';
import type { RegistrarMeasures } from './measures.ts';
import type { Transfers } from './transfers.ts';

export interface CertifierOptions {
  readonly authority: Authority;
  readonly journal: Journal;
  readonly transfers: Transfers;
  readonly sign: (reply: Omit<EnrolmentReply, 'repliedAtMs'>) => Buffer;
  readonly certificateLifetimeMs: number;
  readonly measures: RegistrarMeasures;
  readonly log: Log;
}

/** What is to be tried again. */
export interface CertificationDelay {
  /** Requests. */
  readonly left: number;
  readonly reason: string;
  readonly detail: string;
}

/** Certified in one step. */
const certifiedAtOnceMax = 64;
const notYet: ReadonlySet<string> = new Set(['pki.authority_busy', 'pki.key_offline', 'pki.storage']);
/** Of the whole authority: it is the same for every request. */
const notYetForAny: ReadonlySet<string> = new Set(['pki.authority_busy', 'pki.storage']);
const keyNames = ['tls', 'sig', 'enc'] as const;

export class Certifier {
  readonly #options: CertifierOptions;
  /** Not in the journal yet. */
  #signed: readonly Answer[] = [];

  constructor(options: CertifierOptions) {
    this.#options = options;
  }

  /**
   * @param onAnswered - of what is in the journal now: digests, hexadecimal
   * @returns undefined if nothing is left
   * @throws PostponedError
   */
  async certifyAccepted(onAnswered: (digest: string) => void): Promise<CertificationDelay | undefined> {
    this.#keep(onAnswered);
    const accepted = this.#options.journal.inState('accepted');
    let left = 0;
    let delay: PkiError | undefined;
    for (let at = 0; at < accepted.length; at += certifiedAtOnceMax) {
      const batch = accepted.slice(at, at + certifiedAtOnceMax);
      const results = await this.#certifyBatch(batch);
      this.#signed = results.flatMap((result) => (result instanceof PkiError ? [] : [result]));
      left += results.length - this.#signed.length;
      delay = results.find((result) => result instanceof PkiError) ?? delay;
      this.#keep(onAnswered);
    }
    return delay && { left, reason: delay.code, detail: delay.message };
  }

  #keep(onAnswered: (digest: string) => void): void {
    const { journal, measures } = this.#options;
    const answers = this.#signed;
    if (answers.length === 0) return;
    journal.answer(answers);
    this.#signed = [];
    for (const { digest, state } of answers) {
      measures.answered.inc({ outcome: state });
      onAnswered(digest.toString('hex'));
    }
  }

  /** @returns for each request its answer, or why there is none yet */
  async #certifyBatch(batch: readonly Entry[]): Promise<readonly (Answer | PkiError)[]> {
    try {
      return await this.#certify(batch);
    } catch (error) {
      if (!(error instanceof PkiError)) throw error;
      if (notYetForAny.has(error.code)) return batch.map(() => error);
      // One that is refused must not take the others with it.
      return Promise.all(batch.map((entry) => this.#certifyOne(entry)));
    }
  }

  async #certifyOne(entry: Entry): Promise<Answer | PkiError> {
    try {
      const [answer] = await this.#certify([entry]);
      assert(answer, 'one request, one answer');
      return answer;
    } catch (error) {
      if (!(error instanceof PkiError)) throw error;
      if (notYet.has(error.code)) return error;
      const { id, name, digest } = entry;
      this.#options.log.warn({ name, reason: error.code, detail: error.message }, 'request.refused');
      const reply = { id, requestDigest: digest, outcome: 'refused', detail: error.message } as const;
      return { digest, state: 'refused', reply: this.#options.sign(reply) };
    }
  }

  async #certify(entries: readonly Entry[]): Promise<readonly Answer[]> {
    const { authority, transfers, sign, certificateLifetimeMs: lifetimeMs } = this.#options;
    const asked = entries.map(({ message }) => decodeEnrolmentRequest(readSignedContent(message).content));
    const wanted = entries.flatMap(({ path }, index): CertifyRequest[] => {
      const requests = asked[index]?.requests;
      if (requests === undefined) return [];
      return keyNames.map((kind) => {
        return { path, kind, publicKey: parseRequest(requests[kind]).publicKey, lifetimeMs };
      });
    });
    const chains = await authority.certify(wanted);
    return entries.map(({ id, digest }, index) => {
      const [tls = [], sig = [], enc = []] = chains.slice(3 * index, 3 * index + 3).map(dersOf);
      const broker = transfers.brokerOf(asked[index]?.transfer);
      const reply = {
        id,
        requestDigest: digest,
        outcome: 'issued',
        detail: '',
        chains: { tls, sig, enc },
        ...(broker === undefined ? {} : { broker }),
      } as const;
      return { digest, state: 'issued', reply: sign(reply) };
    });
  }
}

function dersOf(chain: readonly Certificate[]): readonly Buffer[] {
  return chain.map(({ der }) => der);
}
