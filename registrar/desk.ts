/**
 * Takes requests and approvals, and answers: nothing is answered before it is in the journal, and whatever is in the
 * journal is answered, however often the program is killed. The same request gets the same answer.
 */
import { CmsError } from '../cms/errors.ts';
import { readSignedContent, signContent } from '../cms/signed-content.ts';
import type { ContentSigner } from '../cms/signed-content.ts';
import type { Clock } from '../domain/clock.ts';
import { encodeEnrolmentReply, EnrolmentMessageError, typeOfEnrolmentMessage } from '../domain/enrolment.ts';
import type { EnrolmentReply } from '../domain/enrolment.ts';
import { enrolmentTopic, parseEnrolmentTopic } from '../domain/topic.ts';
import { EnrolmentError } from '../enrolment/errors.ts';
import type { SignatureTrust } from '../enrolment/signed-message.ts';
import type { Authority } from '../pki/authority/authority.ts';
import { PkiError } from '../pki/errors.ts';
import type { Log } from '../runtime/log.ts';
import { backoffMs } from '../runtime/retry.ts';
import type { BackoffLimits } from '../runtime/retry.ts';
import { Certifier } from './certifier.ts';
import { PostponedError, RefusalError } from './errors.ts';
import { readApproval, readKeys, readRequest, reasonToWait, requireApprover } from './examine.ts';
import type { SignedRequest } from './examine.ts';
import type { Answer, EntryState, Journal, NewEntry } from './journal.ts';
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

/** Requests that are new, for the journal to take up at once. */
interface Round {
  readonly entries: Map<string, NewEntry>;
  readonly answers: Answer[];
  /** For the log, once they are taken up. */
  readonly facts: object[];
}

interface Publication {
  readonly topic: string;
  readonly payload: Buffer;
  readonly retain: boolean;
}

/** Taken up in one step. */
const batchMax = 64;
/** A device asks once in a year; one that asks again and again has a fault, and costs an entry in the ledger each time. */
const requestsPerDayMax = 10;
const dayMs = 86_400_000;
/** For another process, for somebody who brings a key, and for room on the disk. */
const retry: BackoffLimits = { firstMs: 1_000, maxMs: 60_000 };

export class Desk {
  readonly #options: DeskOptions;
  #queue: Taken[] = [];
  #working: Promise<void> | undefined;
  readonly #certifier: Certifier;
  /** To be answered: digests, hexadecimal, with what to acknowledge then. */
  readonly #toTell = new Map<string, (() => void)[]>();
  #retryTimer: NodeJS.Timeout | undefined;
  /** How often in a row something was put off. */
  #delays = 0;
  #fault: string | undefined;
  #isStopped = false;

  constructor(options: DeskOptions) {
    this.#options = options;
    this.#certifier = new Certifier({ ...options, sign: (reply) => this.#sign(reply) });
  }

  /** Why nothing is taken up, or undefined. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /** What was accepted before the program ended the last time is certified now. */
  resume(): void {
    this.#start();
  }

  /** @param acknowledge - called when the answer is with the broker, or nobody is answered */
  take(topic: string, payload: Buffer, acknowledge: () => void): void {
    if (this.#isStopped) return; // not acknowledged, so it comes again
    this.#queue.push({ topic, payload, acknowledge });
    if (this.#fault === undefined) this.#start();
  }

  /** The broker delivers again what was not acknowledged on a connection that is over. */
  forgetUntaken(): void {
    this.#queue = [];
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
      if (this.#queue.length > 0 && !this.#isStopped && this.#fault === undefined) this.#start();
    });
  }

  async #work(): Promise<void> {
    try {
      do {
        await this.#enter(this.#queue.splice(0, batchMax));
        const delay = await this.#certifier.certifyAccepted((digest) => this.#acknowledgementsOf(digest));
        this.#fault = undefined;
        if (delay === undefined) this.#delays = 0;
        else {
          if (delay.reason === 'pki.storage') this.#options.measures.storageFaults.inc();
          this.#options.log.warn({ ...delay, retryMs: this.#tryLater() }, 'certification.delayed');
        }
        this.#tellAll();
      } while (this.#queue.length > 0 && !this.#isStopped);
    } catch (error) {
      if (!(error instanceof PostponedError)) throw error;
      this.#postpone(error);
    }
  }

  /** Said once; whatever comes meanwhile stays behind what came before. */
  #postpone({ message: detail }: PostponedError): void {
    const { measures, log } = this.#options;
    measures.storageFaults.inc();
    const retryMs = this.#tryLater();
    if (this.#fault === undefined) log.error({ detail, retryMs }, 'journal.failed');
    this.#fault = detail;
    this.#tellAll(); // what is in the journal already
  }

  /** @returns in how many milliseconds */
  #tryLater(): number {
    const retryMs = backoffMs(this.#delays++, retry);
    clearTimeout(this.#retryTimer);
    if (!this.#isStopped) this.#retryTimer = setTimeout(() => this.#start(), retryMs);
    return retryMs;
  }

  /** @param digest - hexadecimal; it is answered at the end of this round */
  #acknowledgementsOf(digest: string): (() => void)[] {
    const known = this.#toTell.get(digest) ?? [];
    this.#toTell.set(digest, known);
    return known;
  }

  /** @throws PostponedError after which what is not in the journal is in the queue again */
  async #enter(batch: readonly Taken[]): Promise<void> {
    const { journal, measures, log } = this.#options;
    const trust = this.#options.trust();
    const entered: { readonly digest: Buffer; readonly taken: Taken }[] = [];
    const settled = new Set<Taken>();
    const round: Round = { entries: new Map(), answers: [], facts: [] };
    try {
      for (const taken of batch) {
        const { topic, payload, acknowledge } = taken;
        try {
          const { name = '', part } = parseEnrolmentTopic(topic) ?? {};
          const news = await this.#transfer(name, payload, trust);
          if (news !== undefined) {
            this.#publishAll([news], acknowledge);
            settled.add(taken);
            continue;
          }
          const digest =
            part === 'approval'
              ? this.#approve(name, payload, trust)
              : this.#request(readRequest(name, payload, trust), payload, round);
          entered.push({ digest, taken });
        } catch (error) {
          const reason = reasonOf(error);
          if (reason === undefined) throw error;
          measures.ignored.inc({ reason: reason.code });
          log.warn({ topic, reason: reason.code, detail: reason.detail }, 'message.ignored');
          acknowledge();
          settled.add(taken);
        }
      }
      journal.add([...round.entries.values()], round.answers);
    } catch (error) {
      if (error instanceof PostponedError)
        this.#queue.unshift(...batch.filter((taken) => !settled.has(taken)));
      throw error;
    }
    for (const facts of round.facts) log.info(facts, 'request.taken');
    for (const { digest, taken } of entered)
      this.#acknowledgementsOf(digest.toString('hex')).push(taken.acknowledge);
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
  #request(signed: SignedRequest, message: Buffer, { entries, answers, facts }: Round): Buffer {
    const { journal, clock } = this.#options;
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
    facts.push({ name: signer.commonName, kind, id, state, detail });
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
    if (decision === 'approve') {
      journal.accept(digest, path);
    } else {
      const why =
        detail === '' ? `${signer.commonName} refused it` : `${signer.commonName} refused it: ${detail}`;
      const reply = this.#sign({ id: entry.id, requestDigest: digest, outcome: 'refused', detail: why });
      journal.answer([{ digest, state: 'refused', reply }]);
    }
    log.info({ name, id: entry.id, decision, by: signer.commonName, path, detail }, 'request.decided');
    return digest;
  }

  #sign(reply: Omit<EnrolmentReply, 'repliedAtMs'>): Buffer {
    const { signer, clock } = this.#options;
    const repliedAtMs = clock();
    return signContent(encodeEnrolmentReply({ ...reply, repliedAtMs }), signer, repliedAtMs);
  }

  #tellAll(): void {
    const toTell = [...this.#toTell];
    this.#toTell.clear();
    for (const [digest, acknowledgements] of toTell) this.#tell(digest, acknowledgements);
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
