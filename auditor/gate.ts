/** The release gate: signs what may leave and publishes it where the cascade takes it from; keeps what waits for a person. */
import { addSignature } from '../cms/sign.ts';
import type { SignatureKey } from '../cms/signer-info.ts';
import type { Clock } from '../domain/clock.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import { releasedTopic } from '../domain/release-topics.ts';
import type { PassageLeaf } from '../ledger/leaf.ts';
import { streamOf } from '../ledger/stream.ts';
import type { Log } from '../runtime/log.ts';
import type { HeldDecision, HeldEnvelope, HeldStore } from './held-store.ts';
import type { EgressRecord } from './record.ts';
import { RecordError } from './record.ts';

export interface GateOptions {
  readonly scope: NamespacePath;
  readonly record: EgressRecord;
  readonly held: HeldStore;
  readonly signer: SignatureKey;
  /** Resolves when the broker has it. */
  readonly publish: (topic: string, payload: Uint8Array) => Promise<void>;
  /** How long a person has. */
  readonly askMs: number;
  /** What happens if nobody decides. */
  readonly atDeadline: HeldDecision['outcome'];
  readonly clock: Clock;
  readonly log: Log;
}

/** What waits for people beyond this is denied: a page of so many is no question any more. */
const heldMax = 10_000;
const checkMs = 1000;

export class Gate {
  readonly #options: GateOptions;
  readonly #timer: NodeJS.Timeout;
  /** Streams of which something is on its way out, and those of which more was decided meanwhile. */
  readonly #leaving = new Set<string>();
  readonly #again = new Set<string>();
  #isStopped = false;
  #revision = 0;

  constructor(options: GateOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#look(), checkMs);
    this.#timer.unref();
  }

  get size(): number {
    return this.#options.held.size;
  }

  /** When the one came that waits longest; undefined if none waits. */
  get oldestMs(): number | undefined {
    return this.#options.held.list(1)[0]?.passage.timeMs;
  }

  /** Counts up with everything that is held, decided or gone. */
  get revision(): number {
    return this.#revision;
  }

  /** What happens to what nobody decides about. */
  get atDeadline(): HeldDecision['outcome'] {
    return this.#options.atDeadline;
  }

  /** Whether one more may be held. */
  get hasRoom(): boolean {
    return this.size < heldMax;
  }

  /** Goes on with what was decided and has not left. */
  start(): void {
    for (const stream of this.#options.held.streams()) this.#advance(stream);
  }

  /** Resolves when the broker has what the cascade may take. Releasing the same again is harmless: it is the same envelope. */
  async release(topic: string, envelope: Uint8Array): Promise<void> {
    const { scope, signer, publish, clock } = this.#options;
    await publish(releasedTopic(scope, topic), addSignature(envelope, signer, clock()));
  }

  /** Lets a command through to its device, as it came. Again is harmless: a device obeys a command once. */
  async deliver(topic: string, envelope: Uint8Array): Promise<void> {
    await this.#options.publish(topic, envelope);
  }

  /** @param untilMs - from then on it is of no use to anybody @throws RecordError `record.storage`; durable when it returns */
  hold(envelope: Uint8Array, passage: PassageLeaf, untilMs = Infinity): void {
    const { held, askMs, clock } = this.#options;
    try {
      held.add(envelope, passage, Math.round(Math.min(clock() + askMs, untilMs)));
      this.#revision += 1;
    } catch (cause) {
      throw new RecordError('record.storage', `cannot hold an envelope: ${String(cause)}`, { cause });
    }
  }

  /** What waits, the oldest first. */
  list(max: number): HeldEnvelope[] {
    return this.#options.held.list(max);
  }

  find(id: number): HeldEnvelope | undefined {
    return this.#options.held.find(id);
  }

  /**
   * Decides what is held. It leaves once those of its device that came before it have been decided.
   *
   * @returns whether it was there to be decided
   * @throws RecordError `record.storage`
   */
  decide(id: number, decision: HeldDecision): boolean {
    const { held } = this.#options;
    const found = held.find(id);
    if (found === undefined || !this.#keep(id, decision)) return false;
    this.#revision += 1;
    this.#advance(streamOf(found.passage));
    return true;
  }

  checkDeadlines(): void {
    const { held, atDeadline, clock } = this.#options;
    for (const id of held.due(clock())) this.decide(id, { outcome: atDeadline, by: 'deadline' });
  }

  stop(): void {
    this.#isStopped = true;
    clearInterval(this.#timer);
  }

  #keep(id: number, decision: HeldDecision): boolean {
    try {
      return this.#options.held.decide(id, decision);
    } catch (cause) {
      throw new RecordError('record.storage', `cannot keep a decision: ${String(cause)}`, { cause });
    }
  }

  #look(): void {
    try {
      this.checkDeadlines();
      this.start(); // what could not leave is tried again
    } catch (error) {
      if (!(error instanceof RecordError)) throw error;
      this.#options.log.error({ reason: error.code, error: error.message }, 'release.failed');
    }
  }

  #advance(stream: string): void {
    if (this.#leaving.has(stream)) {
      this.#again.add(stream);
      return;
    }
    this.#leaving.add(stream);
    this.#leave(stream)
      .catch((error: unknown) => {
        // It stays on the disk, decided; the next decision, or the next start, goes on with it.
        this.#options.log.error({ stream, error: String(error) }, 'release.failed');
      })
      .finally(() => {
        this.#leaving.delete(stream);
        if (this.#again.delete(stream)) this.#advance(stream);
      });
  }

  /** In the order in which they came, as far as they are decided. */
  async #leave(stream: string): Promise<void> {
    const { held, log } = this.#options;
    for (;;) {
      const next = this.#isStopped ? undefined : held.first(stream);
      if (next?.decision === undefined) return;
      const { id, envelope, passage, decision } = next;
      this.#record(passage, decision);
      if (decision.outcome === 'released') await this.#letGo(passage, envelope);
      if (this.#isStopped) return;
      held.remove(id);
      this.#revision += 1;
      log.info({ topic: passage.topic, sequence: passage.sequence, ...decision }, 'envelope.decided');
    }
  }

  #letGo({ direction, topic }: PassageLeaf, envelope: Uint8Array): Promise<void> {
    return direction === 'in' ? this.deliver(topic, envelope) : this.release(topic, envelope);
  }

  /** Once, also if the program ended between the entry and the release. @throws RecordError */
  #record(passage: PassageLeaf, { outcome, by }: HeldDecision): void {
    const { record, clock } = this.#options;
    if (record.outcomeOf(passage) === outcome) return;
    record.appendDecision({ ...passage, timeMs: clock(), outcome, decidedBy: by });
  }
}
