/** Shows the vendor heads of the ledger, a piece at a time, and keeps the newest that it countersigned. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { ContentSigner } from '../cms/signed-content.ts';
import type { Clock } from '../domain/clock.ts';
import { ledgerHeadTopic } from '../domain/ledger-topics.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import { isServiceName } from '../domain/namespace.ts';
import { LedgerError } from '../ledger/errors.ts';
import { Frontier, hashLeaf } from '../ledger/merkle.ts';
import type { ShownLeaf } from '../ledger/submission.ts';
import {
  decodeCountersigned,
  encodeSubmission,
  shownBytesMax,
  shownLeavesMax,
} from '../ledger/submission.ts';
import type { SignedHead } from '../ledger/tree-head.ts';
import { readHead, signHead } from '../ledger/tree-head.ts';
import type { Certificate } from '../pki/certificate.ts';
import { PkiError } from '../pki/errors.ts';
import { verifyPath } from '../pki/path.ts';
import type { RevocationLists } from '../pki/revocation-lists.ts';
import { describeSystemError } from '../runtime/config.ts';
import { writeFileAtomically } from '../runtime/files.ts';
import type { Log } from '../runtime/log.ts';
import type { EgressRecord } from './record.ts';
import { RecordError } from './record.ts';

export interface CountersigningOptions {
  readonly scope: NamespacePath;
  readonly record: EgressRecord;
  readonly signer: ContentSigner;
  readonly roots: readonly Certificate[];
  readonly lists: RevocationLists;
  /** The auditor's data. */
  readonly directory: string;
  readonly publish: (topic: string, payload: Uint8Array) => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
}

/** What is asked for is asked for again if there is no answer. */
const answerWaitMs = 30_000;
const pageLeaves = 500;
export const countersignedFileName = 'countersigned.head';

interface Asked {
  readonly after: Frontier;
  readonly sinceMs: number;
}

export class Countersigning {
  readonly #options: CountersigningOptions;
  readonly #file: string;
  /** Of what is countersigned, as the vendor says last. */
  #tree: Frontier;
  /** Leaves of the head in the file: whoever repeats an older answer does not take it away. */
  #keptSize: number;
  #asked: Asked | undefined;

  /** @throws LedgerError `ledger.damaged` if the ledger does not continue what the vendor has countersigned */
  constructor(options: CountersigningOptions) {
    this.#options = options;
    this.#file = path.join(options.directory, countersignedFileName);
    const head = existsSync(this.#file) ? readHead(readFileSync(this.#file)) : undefined;
    this.#tree = head === undefined ? new Frontier() : this.#treeOf(head);
    this.#keptSize = this.#tree.size;
  }

  /** How many leaves are countersigned. */
  get size(): number {
    return this.#keptSize;
  }

  /** Asks for what is not countersigned yet, unless an answer is awaited; to be called now and then. */
  ask(): void {
    const { record, clock, log } = this.#options;
    const nowMs = clock();
    // A clock may have been set back meanwhile.
    if (this.#asked !== undefined && Math.abs(nowMs - this.#asked.sinceMs) < answerWaitMs) return;
    if (record.head.size === this.#tree.size) return;
    let leaves: ShownLeaf[];
    try {
      leaves = this.#shown();
    } catch (error) {
      if (!(error instanceof RecordError)) throw error;
      log.error({ reason: error.code, detail: error.message }, 'head.failed'); // the next one shows the same and more
      return;
    }
    const after = this.#tree.copy();
    for (const { octets } of leaves) after.append(hashLeaf(octets));
    this.#asked = { after, sinceMs: nowMs };
    this.#publish(after, leaves, nowMs);
  }

  /** Takes an answer of the vendor; one that is not right is an alarm. */
  take(payload: Buffer): void {
    const { log, scope } = this.#options;
    try {
      const { origin, message } = decodeCountersigned(payload);
      if (origin !== this.#options.record.head.origin) return; // to a question about an earlier ledger
      this.#asked = undefined;
      const head = message && this.#verified(message);
      const tree = head === undefined ? new Frontier() : this.#treeOf(head);
      if (message !== undefined && tree.size >= this.#keptSize) this.#keep(message, tree.size);
      this.#tree = tree;
      log.info({ scope, size: this.#tree.size }, 'ledger.countersigned');
    } catch (error) {
      if (error instanceof RecordError) {
        log.error({ reason: error.code, detail: error.message }, 'head.failed'); // it is asked for again
        return;
      }
      if (!(error instanceof LedgerError || error instanceof PkiError)) throw error;
      log.error({ scope, reason: error.code, detail: error.message }, 'countersignature.refused');
      return;
    }
    this.ask();
  }

  /** @throws RecordError */
  #keep(message: Buffer, size: number): void {
    try {
      writeFileAtomically(this.#file, message);
    } catch (cause) {
      const detail = `${this.#file}: ${describeSystemError(cause)}`;
      throw new RecordError('record.storage', detail, { cause });
    }
    this.#keptSize = size;
  }

  #shown(): ShownLeaf[] {
    const leaves: ShownLeaf[] = [];
    let bytes = 0;
    for (const leaf of this.#options.record.leavesFrom(this.#tree.size, shownLeavesMax)) {
      bytes += leaf.octets.length;
      if (bytes > shownBytesMax && leaves.length > 0) break;
      leaves.push(leaf);
    }
    return leaves;
  }

  #publish(after: Frontier, leaves: readonly ShownLeaf[], nowMs: number): void {
    const { record, scope, signer, publish, log } = this.#options;
    const head = { origin: record.head.origin, size: after.size, root: after.root() };
    const payload = encodeSubmission(signHead(head, signer, nowMs), this.#tree.size, leaves);
    publish(ledgerHeadTopic(scope), payload).catch((error: unknown) =>
      log.debug({ error: String(error) }, 'head.not_shown'),
    );
  }

  /** @throws LedgerError, PkiError */
  #verified(message: Buffer): SignedHead {
    const { roots, lists, clock, scope } = this.#options;
    const head = readHead(message);
    const names = head.signatures.map(({ chain, signingTimeMs }) => {
      const signer = verifyPath({ chain, roots, atMs: signingTimeMs, purpose: 'signature' });
      lists.requireUnrevoked(signer, clock());
      return signer.commonName;
    });
    if (names.includes(scope) && names.some((name) => isServiceName(name))) return head;
    throw new LedgerError(
      'ledger.malformed',
      `a head that ${names.join(' and ')} signed is not countersigned`,
    );
  }

  /** @throws LedgerError `ledger.damaged` if it is a head of another history */
  #treeOf(head: SignedHead): Frontier {
    const { record } = this.#options;
    const { after } = this.#asked ?? {};
    if (after?.size === head.size && after.root().equals(head.root)) return after;
    const tree = new Frontier();
    while (tree.size < head.size) {
      const page = record.leavesFrom(tree.size, Math.min(pageLeaves, head.size - tree.size));
      if (page.length === 0) break;
      for (const { octets } of page) tree.append(hashLeaf(octets));
    }
    if (head.origin === record.head.origin && tree.size === head.size && tree.root().equals(head.root))
      return tree;
    throw new LedgerError(
      'ledger.damaged',
      `the ledger does not continue the head of ${head.size} leaves that is countersigned`,
    );
  }
}
