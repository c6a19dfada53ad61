/**
 * One thread that opens envelopes, and what waits for it. Answers come in the order in which it was asked. When it dies it is
 * started again and asked again, first for one envelope at a time, so that one that kills it is found.
 */
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Log } from '../runtime/log.ts';
import { backoffMs } from '../runtime/retry.ts';
import type { FromOpener, KeptChain, OpenerSettings, ToOpener, Trust, Verdict } from './opener-messages.ts';
import type { KnownLayout } from './packed-arrivals.ts';
import type { QueuedMessage } from './queued-message.ts';

/** An envelope, and how far its way has been. */
export interface OpenJob {
  readonly kind: 'open';
  readonly message: QueuedMessage;
  /** What was known of certificates and lists when it was handed to a thread for the first time, or before. */
  generation: number | undefined;
  /** Threads that had no certificate of whoever made it. */
  strangers: number;
  /** Threads that died of it, or while it was the only one that they had. */
  deaths: number;
}

export interface CertificatesJob {
  readonly kind: 'certificates';
  readonly path: string;
  readonly payload: Buffer;
  readonly nowMs: number;
  readonly done: (trust: Trust) => void;
}

type Job = OpenJob | CertificatesJob;

export interface OpenedPart {
  readonly job: OpenJob;
  readonly verdict: Verdict;
}

export interface OpenerOptions {
  readonly settings: OpenerSettings;
  /** Read whenever the thread starts; tried again until it succeeds. */
  readonly readChains: () => Promise<{ readonly chains: readonly KeptChain[]; readonly nowMs: number }>;
  /** The newest lists. */
  readonly listsPem: () => string;
  readonly trustGeneration: () => number;
  readonly onOpened: (parts: readonly OpenedPart[], packed: Uint8Array | undefined) => void;
  readonly onStale: (passes: number, warnings: readonly string[]) => void;
  readonly onDeath: () => void;
  readonly log: Log;
  /** Another thread's code, for tests. */
  readonly file?: string;
  readonly answerTimeoutMs?: number;
}

/** A thread with so many envelopes is busy for some milliseconds. */
const chunkEnvelopesMax = 16;
const chunkBytesMax = 1024 * 1024;
/** One that is worked on and one behind it, so that the thread does not wait for us. */
const chunksMax = 2;
/** The second time that it dies of one envelope alone is no accident. */
const deathsMax = 2;
/** Far longer than a thread takes for a chunk of the largest envelopes. */
const answerTimeoutMsDefault = 60_000;
const restart = { firstMs: 20, maxMs: 5000 };
const ownFile = path.join(import.meta.dirname, `opener-worker${path.extname(import.meta.filename)}`);

export const openerDied = 'opener_died';

export class Opener {
  readonly #options: OpenerOptions;
  #queue: Job[] = [];
  #sent: (readonly Job[])[] = [];
  #thread: Worker | undefined;
  #isReady = false;
  /** Envelopes that may have killed the thread: until they are answered it gets one at a time. */
  #suspects = 0;
  #deathsInARow = 0;
  #isStopped = false;
  #watchdog: NodeJS.Timeout | undefined;

  constructor(options: OpenerOptions) {
    this.#options = options;
    this.#start();
  }

  add(job: Job): void {
    this.#queue.push(job);
    this.#dispatch();
  }

  /** What was learnt counts for whatever is added from now on. */
  replaceLists(pem: string): void {
    if (this.#isReady) this.#post({ kind: 'lists', pem });
  }

  learn(layouts: readonly KnownLayout[]): void {
    if (this.#isReady) this.#post({ kind: 'layouts', layouts });
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#watchdog);
    this.#queue = [];
    await this.#thread?.terminate();
  }

  #start(): void {
    const { settings, file } = this.#options;
    const thread = new Worker(file ?? ownFile, { workerData: settings });
    this.#thread = thread;
    let fault = 'it ended';
    thread.on('message', (answer: FromOpener) => this.#answered(answer));
    thread.once('error', (error) => (fault = String(error)));
    thread.once('exit', () => this.#died(fault));
    void this.#prepare(thread);
  }

  /** The database may be away: without its chains every envelope would look like a stranger's. */
  async #prepare(thread: Worker): Promise<void> {
    for (let attempt = 0; !this.#isStopped && this.#thread === thread; attempt++) {
      try {
        const { chains, nowMs } = await this.#options.readChains();
        if (this.#thread !== thread) return;
        this.#post({ kind: 'lists', pem: this.#options.listsPem() });
        this.#post({ kind: 'restore', chains, nowMs });
        return;
      } catch (error) {
        this.#options.log.error({ error: String(error), attempt }, 'opener.chains_not_read');
        await new Promise((resolve) => {
          setTimeout(resolve, backoffMs(attempt, restart)).unref();
        });
      }
    }
  }

  #post(message: ToOpener, transfer: readonly ArrayBuffer[] = []): void {
    this.#thread?.postMessage(message, [...transfer]);
  }

  #dispatch(): void {
    if (!this.#isReady || this.#isStopped) return;
    const isCareful = this.#suspects > 0;
    while (this.#queue.length > 0 && this.#sent.length < (isCareful ? 1 : chunksMax)) {
      const jobs = this.#takeChunk(isCareful ? 1 : chunkEnvelopesMax);
      this.#sent.push(jobs);
      const [first] = jobs;
      if (first?.kind === 'certificates') {
        const { path: device, payload, nowMs } = first;
        this.#post({ kind: 'certificates', path: device, payload: Uint8Array.from(payload), nowMs });
      } else {
        this.#postEnvelopes(jobs.filter((job) => job.kind === 'open'));
      }
    }
    this.#watch();
  }

  /** @returns envelopes, or one message of certificates */
  #takeChunk(envelopesMax: number): readonly Job[] {
    let count = 0;
    let bytes = 0;
    for (const job of this.#queue) {
      if (job.kind !== 'open' || count === envelopesMax || bytes > chunkBytesMax) break;
      count += 1;
      bytes += job.message.payload.length;
    }
    return this.#queue.splice(0, Math.max(1, count));
  }

  #postEnvelopes(jobs: readonly OpenJob[]): void {
    // A buffer of its own, for what is sent to a thread is copied with all of the memory that it lies in.
    const octets = Buffer.allocUnsafeSlow(jobs.reduce((sum, { message }) => sum + message.payload.length, 0));
    let end = 0;
    const generation = this.#options.trustGeneration();
    const parts = jobs.map((job) => {
      const { topic, payload, receivedMs } = job.message;
      job.generation ??= generation; // the first thread is the one that would have known better since
      payload.copy(octets, end);
      end += payload.length;
      return { topic, receivedMs, end };
    });
    this.#post({ kind: 'open', parts, octets }, [octets.buffer]);
  }

  #answered(answer: FromOpener): void {
    switch (answer.kind) {
      case 'restored':
        this.#isReady = true;
        break;
      case 'dropped': {
        const { path: device, certificate, reason, detail } = answer;
        this.#options.log.warn({ path: device, kind: certificate, reason, detail }, 'certificate.dropped');
        return;
      }
      case 'certificates': {
        const [job] = this.#shift();
        if (job?.kind === 'certificates') job.done(answer.trust);
        break;
      }
      case 'opened': {
        const jobs = this.#shift().filter((job) => job.kind === 'open');
        if (answer.stalePasses > 0) this.#options.onStale(answer.stalePasses, answer.staleWarnings);
        this.#deliver(jobs, answer.verdicts, answer.packed);
        break;
      }
    }
    this.#dispatch();
  }

  #shift(): readonly Job[] {
    const jobs = this.#sent.shift() ?? [];
    this.#suspects = Math.max(0, this.#suspects - jobs.length);
    this.#deathsInARow = 0;
    return jobs;
  }

  #deliver(jobs: readonly OpenJob[], verdicts: readonly Verdict[], packed: Uint8Array | undefined): void {
    const parts = jobs.map((job, index) => {
      const verdict = verdicts[index];
      if (verdict === undefined) throw new Error('an opener gives one verdict for each envelope');
      return { job, verdict };
    });
    this.#options.onOpened(parts, packed);
  }

  #watch(): void {
    clearTimeout(this.#watchdog);
    if (this.#sent.length === 0) return;
    const timeoutMs = this.#options.answerTimeoutMs ?? answerTimeoutMsDefault;
    this.#watchdog = setTimeout(() => void this.#thread?.terminate(), timeoutMs);
    this.#watchdog.unref();
  }

  #died(fault: string): void {
    this.#thread = undefined;
    this.#isReady = false;
    clearTimeout(this.#watchdog);
    if (this.#isStopped) return;
    const unanswered = this.#sent.flat();
    this.#sent = [];
    this.#queue.unshift(...unanswered);
    this.#suspects = unanswered.length;
    const culprit = unanswered.length === 1 ? this.#queue[0] : undefined;
    if (culprit?.kind === 'open') culprit.deaths += 1;
    this.#options.log.error({ fault, unanswered: unanswered.length }, 'opener.died');
    this.#options.onDeath();
    this.#giveUpOnKiller();
    setTimeout(() => this.#isStopped || this.#start(), backoffMs(this.#deathsInARow++, restart));
  }

  #giveUpOnKiller(): void {
    const [first] = this.#queue;
    if (first?.kind !== 'open' || first.deaths < deathsMax) return;
    this.#queue.shift();
    this.#suspects = 0;
    const { topic } = first.message;
    const verdict: Verdict = {
      kind: 'refused',
      reason: openerDied,
      detail: `a thread died of it ${first.deaths} times`,
      devicePath: topic.split('/').slice(0, 3).join('/'),
    };
    this.#options.onOpened([{ job: first, verdict }], undefined);
  }
}
