/** Countersigns the heads of customers' ledgers, once everything has come that they say was released to us. */
import { envelopeDigest } from '../cms/envelope.ts';
import { CmsError } from '../cms/errors.ts';
import type { ContentSigner } from '../cms/signed-content.ts';
import type { Database } from '../database/connect.ts';
import { keepLedgerHead, readDigests, readLedgerHead, readUntaken } from '../database/ledgers.ts';
import type { LedgerHead } from '../database/ledgers.ts';
import type { Clock } from '../domain/clock.ts';
import { ledgerCountersignedTopic, parseLedgerHeadTopic } from '../domain/ledger-topics.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import { isWithin } from '../domain/namespace.ts';
import { LedgerError } from '../ledger/errors.ts';
import type { PassageLeaf } from '../ledger/leaf.ts';
import { Frontier, hashBytes } from '../ledger/merkle.ts';
import { deviceOf } from '../ledger/stream.ts';
import { continueTree, decodeSubmission, encodeCountersigned } from '../ledger/submission.ts';
import type { Submission } from '../ledger/submission.ts';
import { countersignHead } from '../ledger/tree-head.ts';
import type { ReceivedMessage } from '../mqtt/inbox.ts';
import type { Certificate } from '../pki/certificate.ts';
import { PkiError } from '../pki/errors.ts';
import { verifyPath } from '../pki/path.ts';
import type { RevocationLists } from '../pki/revocation-lists.ts';
import type { Log } from '../runtime/log.ts';

export interface LedgersOptions {
  readonly database: Database;
  readonly signer: ContentSigner;
  /** Of the E2E PKI, pinned. */
  readonly roots: readonly Certificate[];
  readonly lists: RevocationLists;
  readonly publish: (topic: string, payload: Uint8Array) => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
}

export const ledgerSubscriptions = [
  { filter: '+/ledger/head', qos: 1 },
  { filter: '+/+/ledger/head', qos: 1 },
] as const;

/** Of one owner, the newest counts; of so many owners at once. */
const waitingMax = 10_000;

export class Ledgers {
  readonly #options: LedgersOptions;
  /** What waits for envelopes that are on their way, by owner. */
  readonly #waiting = new Map<NamespacePath, Submission>();
  #work: Promise<void> = Promise.resolve();

  constructor(options: LedgersOptions) {
    this.#options = options;
  }

  /** Acknowledged at once: the auditor shows it again until it is answered. */
  receive({ topic, payload }: ReceivedMessage, acknowledge: () => void): void {
    const owner = parseLedgerHeadTopic(topic);
    acknowledge();
    if (owner === undefined) return;
    this.#then(() => this.#take(owner, payload));
  }

  /** Looks again for what waits; to be called now and then. */
  retry(): void {
    for (const [owner, submission] of this.#waiting) this.#then(() => this.#answer(owner, submission));
  }

  /** One after the other, so that no head overtakes another. */
  async stop(): Promise<void> {
    this.#waiting.clear();
    await this.#work;
  }

  #then(work: () => Promise<void>): void {
    this.#work = this.#work.then(work).catch((error: unknown) => {
      this.#options.log.error({ error: String(error) }, 'ledger.failed');
    });
  }

  async #take(owner: NamespacePath, payload: Buffer): Promise<void> {
    try {
      const submission = decodeSubmission(payload);
      this.#requireOwner(owner, submission);
      await this.#answer(owner, submission);
    } catch (error) {
      if (!(error instanceof LedgerError || error instanceof PkiError)) throw error;
      this.#options.log.error({ owner, reason: error.code, detail: error.message }, 'ledger.refused');
    }
  }

  /** @throws LedgerError, PkiError */
  #requireOwner(owner: NamespacePath, { head }: Submission): void {
    const { roots, lists, clock } = this.#options;
    const atMs = clock();
    if (!head.origin.startsWith(`plombe/ledger/${owner}/`)) {
      throw new LedgerError('ledger.malformed', `a head of ${head.origin}`);
    }
    for (const { chain } of head.signatures) {
      const signer = verifyPath({ chain, roots, atMs, purpose: 'signature' });
      lists.requireUnrevoked(signer, atMs);
      if (signer.commonName !== owner) {
        throw new LedgerError('ledger.malformed', `a head signed by ${signer.commonName}`);
      }
    }
  }

  async #answer(owner: NamespacePath, submission: Submission): Promise<void> {
    const { database, log } = this.#options;
    const { origin, size } = submission.head;
    const kept = await readLedgerHead(database, origin);
    if (submission.from !== (kept?.size ?? 0)) {
      // It has not heard of our last answer, or we have lost what we had: it goes on from there.
      this.#waiting.delete(owner);
      return this.#tell(owner, origin, kept);
    }
    const after = continueTree(treeOf(kept), submission);
    const missing = await this.#missing(owner, submission);
    if (missing !== undefined) {
      const isNews = this.#waiting.get(owner) !== submission;
      if (this.#waiting.size < waitingMax || this.#waiting.has(owner)) this.#waiting.set(owner, submission);
      if (isNews)
        log.info({ owner, size, topic: missing.topic, sequence: missing.sequence }, 'ledger.awaited');
      return undefined;
    }
    this.#waiting.delete(owner);
    return this.#countersign(owner, submission, after);
  }

  async #countersign(
    owner: NamespacePath,
    { head, message, from }: Submission,
    after: Frontier,
  ): Promise<void> {
    const { database, signer, clock, log } = this.#options;
    const atMs = clock();
    const kept = {
      origin: head.origin,
      owner,
      size: head.size,
      subtrees: Buffer.concat(after.subtrees),
      head: countersignHead(message, signer, atMs),
      countersignedMs: atMs,
    };
    // What another backend has signed for meanwhile must be what this continues: nobody hears of this signature.
    if (!(await keepLedgerHead(database, kept, from))) return undefined;
    log.info({ owner, size: head.size }, 'ledger.countersigned');
    return this.#tell(owner, head.origin, kept);
  }

  async #tell(owner: NamespacePath, origin: string, kept: LedgerHead | undefined): Promise<void> {
    const message = kept && Buffer.from(kept.head);
    // Not awaited: while there is no connection, other ledgers go on; the auditor asks again.
    this.#options
      .publish(ledgerCountersignedTopic(owner), encodeCountersigned({ origin, message }))
      .catch((error: unknown) => this.#options.log.debug({ owner, error: String(error) }, 'ledger.not_told'));
    return Promise.resolve();
  }

  /** @returns one that has not come, or came as another */
  async #missing(owner: NamespacePath, { leaves }: Submission): Promise<PassageLeaf | undefined> {
    const passages = leaves.flatMap(({ passage }) => (passage === undefined ? [] : [passage]));
    const byDevice = Map.groupBy(passages, ({ topic }) => deviceOf(topic));
    for (const [device, released] of byDevice) {
      if (!isWithin(device, owner)) throw new LedgerError('ledger.malformed', `an entry about ${device}`);
      const missing = await this.#missingOf(device, released);
      if (missing !== undefined) return missing;
    }
    return undefined;
  }

  async #missingOf(device: string, released: readonly PassageLeaf[]): Promise<PassageLeaf | undefined> {
    const { database } = this.#options;
    const sequences = released.flatMap(({ sequence }) => (sequence === undefined ? [] : [sequence]));
    const digests = sequences.length === 0 ? new Map() : await readDigests(database, device, sequences);
    const absent = released.filter(({ sequence, digest }) => {
      const stored: unknown = sequence === undefined ? undefined : digests.get(sequence);
      return !(stored instanceof Uint8Array && digest.equals(stored));
    });
    if (absent.length === 0) return undefined;
    // What we received and could not take, we received.
    const untaken = new Set((await readUntaken(database, device)).map(digestText));
    return absent.find(({ digest }) => !untaken.has(digest.toString('hex')));
  }
}

function treeOf(kept: LedgerHead | undefined): Frontier {
  if (kept === undefined) return new Frontier();
  const octets = Buffer.from(kept.subtrees);
  const subtrees = Array.from({ length: octets.length / hashBytes }, (_, index) =>
    octets.subarray(index * hashBytes, (index + 1) * hashBytes),
  );
  return new Frontier(kept.size, subtrees);
}

function digestText(payload: Uint8Array): string | undefined {
  try {
    return envelopeDigest(payload).toString('hex');
  } catch (error) {
    if (!(error instanceof CmsError)) throw error;
    return undefined;
  }
}
