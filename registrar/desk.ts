/**
 * Takes requests and approvals, and answers: nothing is answered before it is in the journal, and whatever is in the
 * journal is answered, however often the program is killed. The same request gets the same answer.
 */
import { CmsError } from '../cms/errors.ts';
import { readSignedContent, signContent } from '../cms/signed-content.ts';
import type { ContentSigner } from '../cms/signed-content.ts';
import type { Clock } from '../domain/clock.ts';
import {
  decodeEnrolmentRequest,
  encodeEnrolmentReply,
  EnrolmentMessageError,
  typeOfEnrolmentMessage,
} from '../domain/enrolment.ts';
import type { EnrolmentReply } from '../domain/enrolment.ts';
import { enrolmentTopic, parseEnrolmentTopic } from '../domain/topic.ts';
import { EnrolmentError } from '../enrolment/errors.ts';
import type { SignatureTrust } from '../enrolment/signed-message.ts';
import type { Authority } from '../pki/authority/authority.ts';
import type { CertifyRequest } from '../pki/authority/requests.ts';
import type { Certificate } from '../pki/certificate.ts';
import { PkiError } from '../pki/errors.ts';
import { parseRequest } from '../pki/request.ts';
import type { Log } from '../runtime/log.ts';
import { backoffMs } from '../runtime/retry.ts';
import type { BackoffLimits } from '../runtime/retry.ts';
import { RefusalError } from './errors.ts';
import { readApproval, readKeys, readRequest, reasonToWait, requireApprover } from './examine.ts';
import type { SignedRequest } from './examine.ts';
import type { Entry, EntryState, Journal, NewEntry } from './journal.ts';
import type { RegistrarMeasures } from './measures.ts';
import type { Transfers } from './transfers.ts';

export interface DeskOptions {
  readonly authority: Authority;
  readonly journal: Journal;
  readonly transfers: Transfers;
  /** The keys of vendor-enrolment-service. */
  readonly signer: ContentSigner;
  /** Asked for each batch, so that what was revoked meanwhile counts. */
  readonly trust: () => SignatureTrust;
  /** Resolves when the broker has it. */
  readonly publish: (topic: string, payload: Uint8Array, retain: boolean) => Promise<void>;
  readonly certificateLifetimeMs: number;
  readonly clock: Clock;
  readonly measures: RegistrarMeasures;
  readonly log: Log;
}

interface Taken {
  readonly topic: string;
  readonly payload: Buffer;
  readonly acknowledge: () => void;
}

interface Answer {
  readonly digest: Buffer;
  readonly state: EntryState;
  readonly reply: Buffer;
}

interface Publication {
  readonly topic: string;
  readonly payload: Buffer;
  readonly retain: boolean;
}

/** Certified in one step. */
const batchMax = 64;
/** A device asks once in a year; one that asks again and again has a fault, and costs an entry in the ledger each time. */
const requestsPerDayMax = 10;
const dayMs = 86_400_000;
/** For another process, and for somebody who brings a key. */
const retry: BackoffLimits = { firstMs: 1_000, maxMs: 60_000 };
const notYet: ReadonlySet<string> = new Set(['pki.authority_busy', 'pki.key_offline']);
const keyNames = ['tls', 'sig', 'enc'] as const;

export class Desk {
  readonly #options: DeskOptions;
  #queue: Taken[] = [];
  #working: Promise<void> | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  /** Why the last certification was put off, and how often in a row. */
  #delay: PkiError | undefined;
  #delays = 0;
  #isStopped = false;

  constructor(options: DeskOptions) {
    this.#options = options;
  }

  /** What was accepted before the program ended the last time is certified now. */
  resume(): void {
    this.#start();
  }

  /** @param acknowledge - called when the answer is with the broker, or nobody is answered */
  take(topic: string, payload: Buffer, acknowledge: () => void): void {
    if (this.#isStopped) return; // not acknowledged, so it comes again
    this.#queue.push({ topic, payload, acknowledge });
    this.#start();
  }

  /** Ends what it is at; what is not acknowledged comes again. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#retryTimer);
    await this.#working;
  }

  #start(): void {
    this.#working ??= this.#work().finally(() => {
      this.#working = undefined;
      if (this.#queue.length > 0 && !this.#isStopped) this.#start();
    });
  }

  async #work(): Promise<void> {
    do {
      const batch = this.#queue.splice(0, batchMax);
      const acknowledgements = await this.#enter(batch);
      for (const digest of await this.#certifyAccepted()) {
        if (!acknowledgements.has(digest)) acknowledgements.set(digest, []);
      }
      for (const [digest, acknowledge] of acknowledgements) this.#tell(digest, acknowledge);
    } while (this.#queue.length > 0 && !this.#isStopped);
  }

  /** @returns whom to answer: digests, hexadecimal, with what to acknowledge then */
  async #enter(batch: readonly Taken[]): Promise<Map<string, (() => void)[]>> {
    const { journal, measures, log } = this.#options;
    const trust = this.#options.trust();
    const acknowledgements = new Map<string, (() => void)[]>();
    const entries = new Map<string, NewEntry>();
    const answers: Answer[] = [];
    for (const { topic, payload, acknowledge } of batch) {
      try {
        const { name = '', part } = parseEnrolmentTopic(topic) ?? {};
        const news = await this.#transfer(name, payload, trust);
        if (news !== undefined) {
          this.#publishAll([news], acknowledge);
          continue;
        }
        const digest =
          part === 'approval'
            ? this.#approve(name, payload, trust)
            : this.#request(readRequest(name, payload, trust), payload, entries, answers);
        const key = digest.toString('hex');
        acknowledgements.set(key, [...(acknowledgements.get(key) ?? []), acknowledge]);
      } catch (error) {
        const reason = reasonOf(error);
        if (reason === undefined) throw error;
        measures.ignored.inc({ reason: reason.code });
        log.warn({ topic, reason: reason.code, detail: reason.detail }, 'message.ignored');
        acknowledge();
      }
    }
    journal.add([...entries.values()]);
    journal.answer(answers);
    return acknowledgements;
  }

  /** @returns what is to be published, retained, if it is about a hand-over */
  async #transfer(name: string, message: Buffer, trust: SignatureTrust): Promise<Publication | undefined> {
    const { transfers } = this.#options;
    switch (typeOfEnrolmentMessage(readSignedContent(message).content)) {
      case 'transfer':
        return { topic: replyTopicOf(name), payload: transfers.offer(name, message, trust), retain: true };
      case 'confirmation': {
        const from = await transfers.confirm(name, message, trust);
        return { topic: replyTopicOf(from), payload: Buffer.alloc(0), retain: true };
      }
      default:
        return undefined;
    }
  }

  /** @throws RefusalError for one that is not even taken up */
  #request(
    signed: SignedRequest,
    message: Buffer,
    entries: Map<string, NewEntry>,
    answers: Answer[],
  ): Buffer {
    const { journal, clock, log } = this.#options;
    const { request, digest, signer } = signed;
    const key = digest.toString('hex');
    if (entries.has(key) || journal.find(digest) !== undefined) return digest;
    const receivedMs = clock();
    const recently = [...entries.values()].filter(({ name }) => name === signer.commonName).length;
    if (recently + journal.countSince(signer.commonName, receivedMs - dayMs) >= requestsPerDayMax) {
      throw new RefusalError(`${signer.commonName} asked ${requestsPerDayMax} times within a day`);
    }
    const serial = signer.certificate.serialNumber.toString('hex');
    let invitation: string | undefined;
    let state: EntryState = 'accepted';
    let detail = '';
    try {
      const isTransfer = request.kind === 'transfer';
      if (isTransfer) this.#options.transfers.requireOffered(signed, receivedMs);
      const waits = isTransfer ? undefined : reasonToWait(signed);
      readKeys(request, signer);
      if (request.kind === 'enrol') invitation = this.#freeInvitation(serial, entries);
      if (waits !== undefined) [state, detail] = ['waiting', waits];
    } catch (error) {
      if (!(error instanceof RefusalError)) throw error;
      [state, detail] = ['refused', error.message];
    }
    const { id, path, kind } = request;
    entries.set(key, { digest, id, name: signer.commonName, path, message, state, receivedMs, invitation });
    log.info({ name: signer.commonName, kind, id, state, detail }, 'request.taken');
    if (state !== 'accepted') {
      const extra = state === 'waiting' ? { request: message } : {};
      answers.push({
        digest,
        state,
        reply: this.#sign({ id, requestDigest: digest, outcome: state, detail, ...extra }),
      });
    }
    return digest;
  }

  /** @throws RefusalError if another request has used it */
  #freeInvitation(serial: string, entries: ReadonlyMap<string, NewEntry>): string {
    const isUsed = this.#options.journal.userOf(serial) !== undefined;
    if (isUsed || [...entries.values()].some(({ invitation }) => invitation === serial)) {
      throw new RefusalError('this invitation was used for another request');
    }
    return serial;
  }

  #approve(name: string, message: Buffer, trust: SignatureTrust): Buffer {
    const { journal, log } = this.#options;
    const signed = readApproval(message, trust);
    requireApprover(signed, name);
    const { approval, signer } = signed;
    const digest = Buffer.from(approval.requestDigest);
    const entry = journal.find(digest);
    if (entry?.name !== name || entry.id !== approval.id) {
      throw new RefusalError(`${name} has not asked for what ${signer.commonName} decides on`);
    }
    if (entry.state !== 'waiting') return digest; // decided before
    const { decision, detail, path = entry.path } = approval;
    log.info({ name, id: entry.id, decision, by: signer.commonName, path, detail }, 'request.decided');
    if (decision === 'approve') {
      journal.accept(digest, path);
    } else {
      const why =
        detail === '' ? `${signer.commonName} refused it` : `${signer.commonName} refused it: ${detail}`;
      const reply = this.#sign({ id: entry.id, requestDigest: digest, outcome: 'refused', detail: why });
      journal.answer([{ digest, state: 'refused', reply }]);
    }
    return digest;
  }

  /** @returns the digests of what was answered, hexadecimal */
  async #certifyAccepted(): Promise<string[]> {
    const { journal, log, measures } = this.#options;
    const answered: string[] = [];
    const accepted = journal.inState('accepted');
    for (let at = 0; at < accepted.length; at += batchMax) {
      const batch = accepted.slice(at, at + batchMax);
      const answers = await this.#certify(batch).catch(async (error: unknown) => {
        if (!(error instanceof PkiError)) throw error;
        // One that is refused must not take the others with it.
        const alone = await Promise.all(batch.map((entry) => this.#certifyOne(entry)));
        return alone.filter((answer) => answer !== undefined);
      });
      journal.answer(answers);
      for (const { digest, state } of answers) {
        measures.answered.inc({ outcome: state });
        answered.push(digest.toString('hex'));
      }
      if (answers.length === batch.length) {
        this.#delays = 0;
        continue;
      }
      const retryMs = backoffMs(this.#delays++, retry);
      const { code: reason, message: detail } = this.#delay ?? {};
      log.warn({ left: batch.length - answers.length, reason, detail, retryMs }, 'certification.delayed');
      clearTimeout(this.#retryTimer);
      this.#retryTimer = setTimeout(() => this.#start(), retryMs);
    }
    return answered;
  }

  /** @returns undefined if it is to be tried again later */
  async #certifyOne(entry: Entry): Promise<Answer | undefined> {
    try {
      return (await this.#certify([entry]))[0];
    } catch (error) {
      if (!(error instanceof PkiError)) throw error;
      if (notYet.has(error.code)) {
        this.#delay = error;
        return undefined;
      }
      this.#options.log.warn(
        { name: entry.name, reason: error.code, detail: error.message },
        'request.refused',
      );
      const { id, digest } = entry;
      const reply = this.#sign({ id, requestDigest: digest, outcome: 'refused', detail: error.message });
      return { digest, state: 'refused', reply };
    }
  }

  async #certify(entries: readonly Entry[]): Promise<readonly Answer[]> {
    const { authority, transfers, certificateLifetimeMs: lifetimeMs } = this.#options;
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
      return { digest, state: 'issued', reply: this.#sign(reply) };
    });
  }

  #sign(reply: Omit<EnrolmentReply, 'repliedAtMs'>): Buffer {
    const { signer, clock } = this.#options;
    const repliedAtMs = clock();
    return signContent(encodeEnrolmentReply({ ...reply, repliedAtMs }), signer, repliedAtMs);
  }

  /** What waits stays with the broker, for whoever is to decide; its place is free again once it was decided. */
  #tell(key: string, acknowledgements: readonly (() => void)[]): void {
    const entry = this.#options.journal.find(Buffer.from(key, 'hex'));
    const topic = entry && enrolmentTopic(entry.name);
    const acknowledge = (): void => acknowledgements.forEach((one) => one());
    if (entry?.reply === undefined || entry.reply === null || topic === undefined) return acknowledge(); // it will be, later
    const isWaiting = entry.state === 'waiting';
    const payloads = isWaiting ? [entry.reply] : [Buffer.alloc(0), entry.reply];
    this.#publishAll(
      payloads.map((payload) => {
        return { topic: `${topic}/reply`, payload, retain: isWaiting || payload.length === 0 };
      }),
      acknowledge,
    );
  }

  #publishAll(publications: readonly Publication[], acknowledge: () => void): void {
    const { publish, log } = this.#options;
    Promise.all(publications.map(({ topic, payload, retain }) => publish(topic, payload, retain))).then(
      acknowledge,
      // Closed meanwhile: not acknowledged, so it comes again and is answered again.
      (error: unknown) => log.debug({ detail: String(error) }, 'reply.not_published'),
    );
  }
}

function replyTopicOf(name: string): string {
  return `${name}/enrolment/reply`;
}

function dersOf(chain: readonly Certificate[]): readonly Buffer[] {
  return chain.map(({ der }) => der);
}

/** @returns undefined for a fault of our own */
function reasonOf(error: unknown): { readonly code: string; readonly detail: string } | undefined {
  if (error instanceof RefusalError) return { code: 'refused', detail: error.message };
  const isTheirs =
    error instanceof CmsError ||
    error instanceof PkiError ||
    error instanceof EnrolmentError ||
    error instanceof EnrolmentMessageError;
  return isTheirs ? { code: error.code, detail: error.message } : undefined;
}
