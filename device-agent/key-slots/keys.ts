/**
 * Keeps the certificates of one device valid, and follows it to another owner. Each step is on the disk before the next
 * one begins, and what is on the disk alone says which is next: whenever it is cut off, it goes on from there.
 */
import { CmsError } from '../../cms/errors.ts';
import { EnrolmentMessageError } from '../../domain/enrolment.ts';
import type { TransferDocument } from '../../domain/enrolment.ts';
import { errorText } from '../../domain/error-text.ts';
import { EnrolmentError } from '../../enrolment/errors.ts';
import { forgetRequest, isEnrolled, pendingRequest } from '../../enrolment/key-directory.ts';
import type { PendingRequest } from '../../enrolment/key-directory.ts';
import { PkiError } from '../../pki/errors.ts';
import { backoffMs } from '../../runtime/retry.ts';
import { createWait } from '../../runtime/wait.ts';
import { OutboxError } from '../outbox-store.ts';
import { patiently } from './bearer.ts';
import type { KeysContext, KeysOptions } from './bearer.ts';
import { KeySlotsError } from './errors.ts';
import { confirmMove, readOffer } from './hand-over.ts';
import { loadHeldIdentity, renewalDueMs } from './held-identity.ts';
import type { HeldIdentity } from './held-identity.ts';
import { getAnswer, makeRequest } from './request.ts';
import { dropFormer, emptyKeeping, keepingDirectory, readSlots } from './slots.ts';
import type { KeySlots } from './slots.ts';
import { proveMoved, proveRenewed } from './trial.ts';

export interface KeysState {
  /** Of the three certificates, the first; ISO 8601. */
  readonly validUntil: string;
  readonly step: 'steady' | 'asking' | 'waiting-for-approval' | 'on-trial' | 'moving' | 'refused';
  /** Why the last attempt came to nothing. */
  readonly fault?: string;
}

/** The clock may be set, so nobody sleeps for months. */
const checkMs = 3_600_000;
/** A no is a no, and a person has to look. The next start of the agent asks again. */
const refusalsMax = 5;

export class Keys {
  readonly #context: KeysContext;
  readonly #stopping = new AbortController();
  readonly #jitter: number;
  readonly #refusedTransfers = new Set<string>();
  #waking = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #offer: TransferDocument | undefined;
  #refusals = 0;
  #failures = 0;
  #isDueNow: boolean;
  #step: KeysState['step'] = 'steady';
  #fault: string | undefined;

  constructor(options: KeysOptions) {
    this.#context = { ...options, signal: this.#stopping.signal };
    this.#jitter = options.random();
    this.#isDueNow = options.renewal.isDueNow === true;
  }

  start(): void {
    this.#gauge();
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  state(): KeysState {
    return {
      validUntil: new Date(this.#context.bearer.identity().validUntilMs).toISOString(),
      step: this.#step,
      ...(this.#fault === undefined ? {} : { fault: this.#fault }),
    };
  }

  /** A message on the device's enrolment reply topic. What answers a request comes by a connection of its own. */
  take(payload: Buffer): void {
    const { bearer, clock, log } = this.#context;
    if (payload.length === 0) return;
    try {
      const offer = readOffer(payload, bearer.identity(), clock());
      if (offer === undefined || this.#refusedTransfers.has(offer.id) || this.#offer?.id === offer.id) return;
      this.#offer = offer;
      log.info({ id: offer.id, to: offer.to }, 'hand_over.offered');
      this.#waking.abort();
    } catch (error) {
      const reason = reasonOf(error);
      if (reason === undefined) throw error;
      log.warn({ reason, detail: String(error) }, 'hand_over.ignored');
    }
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      let delayMs: number;
      try {
        delayMs = await this.#next();
      } catch (error) {
        delayMs = this.#failed(error);
      }
      await createWait(AbortSignal.any([signal, this.#waking.signal]))(delayMs);
      if (this.#waking.signal.aborted) this.#waking = new AbortController();
    }
  }

  /** @returns how long there is nothing to do, in milliseconds */
  async #next(): Promise<number> {
    const { root, renewal, bearer, clock } = this.#context;
    const slots = readSlots(root);
    const { place } = bearer.identity();
    if (place?.isConfirmed === false) {
      this.#step = 'moving';
      await confirmMove(this.#context, slots, place);
      this.#succeeded('handOvers');
      return 0;
    }
    if (slots.former !== undefined) await this.#dropFormer();
    const spare = keepingDirectory(root, slots.spare);
    const pending = pendingRequest(spare);
    if (isEnrolled(spare)) return this.#prove(slots);
    if (this.#offer !== undefined && pending?.request.kind !== 'transfer') {
      emptyKeeping(root, slots.spare); // the certificates of a renewal would make the transfer void
      return this.#ask(slots, makeRequest(this.#context, slots, this.#offer));
    }
    if (pending !== undefined) return this.#ask(slots, pending);
    const isWanted = renewal.enabled || this.#isDueNow;
    if (!isWanted || this.#refusals >= refusalsMax) return checkMs;
    const dueMs = renewalDueMs(bearer.identity(), renewal.atFraction, this.#jitter);
    if (!this.#isDueNow && clock() < dueMs) return Math.min(dueMs - clock(), checkMs);
    return this.#ask(slots, makeRequest(this.#context, slots));
  }

  async #ask(slots: KeySlots, pending: PendingRequest): Promise<number> {
    const { root, log } = this.#context;
    const { id, transfer } = pending.request;
    this.#step = 'asking';
    try {
      await getAnswer(this.#context, slots, pending, (detail) => {
        if (this.#step !== 'waiting-for-approval') log.warn({ id, detail }, 'renewal.waiting');
        this.#step = 'waiting-for-approval';
      });
    } catch (error) {
      const isUnanswered = error instanceof EnrolmentError && error.code === 'enrolment.unanswered';
      if (isUnanswered || !(error instanceof EnrolmentError || error instanceof PkiError)) throw error;
      // The same question would get the same answer for ever.
      emptyKeeping(root, slots.spare);
      this.#refusals += 1;
      if (transfer !== undefined) {
        this.#refusedTransfers.add(transfer);
        this.#offer = undefined;
      }
      throw error;
    }
    return 0;
  }

  async #prove(slots: KeySlots): Promise<number> {
    const { root, bearer } = this.#context;
    const spare = keepingDirectory(root, slots.spare);
    if (pendingRequest(spare) !== undefined) forgetRequest(spare); // cut off right before its end
    const next = this.#load(slots);
    if (next === undefined) return 0;
    this.#step = 'on-trial';
    if (next.path === bearer.identity().path) {
      await proveRenewed(this.#context, slots, next);
      this.#isDueNow = false;
      this.#succeeded('renewals');
    } else {
      await proveMoved(this.#context, slots, next);
      this.#offer = undefined;
    }
    this.#gauge();
    return 0;
  }

  /** @returns undefined if it has become useless, and is gone now */
  #load(slots: KeySlots): HeldIdentity | undefined {
    const { root, passphraseFile, clock, log } = this.#context;
    try {
      const next = loadHeldIdentity(keepingDirectory(root, slots.spare), { nowMs: clock(), passphraseFile });
      if (next.validUntilMs > clock()) return next;
      log.warn({ slot: slots.spare, reason: 'pki.expired' }, 'certificates.discarded');
    } catch (error) {
      if (!(error instanceof PkiError) || error.code === 'pki.wrong_passphrase') throw error;
      log.warn({ slot: slots.spare, reason: error.code, detail: error.message }, 'certificates.discarded');
    }
    emptyKeeping(root, slots.spare);
    return undefined;
  }

  /** Once nothing waits that was sealed by it; or its successor is due itself, for what waits goes out by no other way then. */
  async #dropFormer(): Promise<void> {
    const { root, renewal, bearer, clock, signal, log } = this.#context;
    const dueMs = renewalDueMs(bearer.identity(), renewal.atFraction, this.#jitter);
    await patiently(bearer.relieved(), signal, Math.max(0, dueMs - clock()));
    dropFormer(root);
    bearer.forgetFormer();
    log.info({}, 'former_keys.removed');
  }

  #succeeded(what: 'renewals' | 'handOvers'): void {
    const { bearer, measures, log } = this.#context;
    const { path, validUntilMs, place } = bearer.identity();
    this.#refusals = 0;
    this.#failures = 0;
    this.#fault = undefined;
    this.#step = 'steady';
    measures[what].inc({ outcome: 'done' });
    const facts = { name: path, validUntil: new Date(validUntilMs).toISOString() };
    if (what === 'renewals') log.info(facts, 'renewal.done');
    else log.info({ ...facts, from: place?.from, broker: place?.broker }, 'hand_over.done');
  }

  /** @returns how long to wait before the next attempt, in milliseconds */
  #failed(error: unknown): number {
    const { measures, times, random, log } = this.#context;
    const reason = reasonOf(error);
    if (reason === undefined) throw error;
    if (reason === 'slots.stopped' || this.#stopping.signal.aborted) return 0;
    // Whoever is to approve it takes their time; meanwhile we go on asking.
    if (reason === 'enrolment.unanswered' && this.#step === 'waiting-for-approval') return 0;
    const isMove = this.#step === 'moving' || this.#offer !== undefined;
    const isRefused = reason === 'enrolment.refused';
    this.#fault = `${reason}: ${errorText(error)}`;
    this.#step = this.#refusals >= refusalsMax ? 'refused' : 'steady';
    measures[isMove ? 'handOvers' : 'renewals'].inc({ outcome: isRefused ? 'refused' : 'failed' });
    const delayMs = backoffMs(this.#failures++, times.retry, random);
    log.error(
      { reason, detail: this.#fault, retryMs: delayMs, isLast: this.#step === 'refused' },
      isMove ? 'hand_over.failed' : 'renewal.failed',
    );
    return delayMs;
  }

  #gauge(): void {
    const { bearer, measures } = this.#context;
    const { path, validUntilMs } = bearer.identity();
    measures.notAfter.set({ device: path }, Math.floor(validUntilMs / 1000));
  }
}

/** @returns undefined for a fault of our own */
function reasonOf(error: unknown): string | undefined {
  const isKnown =
    error instanceof KeySlotsError ||
    error instanceof EnrolmentError ||
    error instanceof EnrolmentMessageError ||
    error instanceof CmsError ||
    error instanceof OutboxError ||
    error instanceof PkiError;
  if (isKnown) return error.code;
  // The disk is full, or is not ours to write: it may pass.
  return error instanceof Error && 'syscall' in error && 'code' in error ? String(error.code) : undefined;
}
