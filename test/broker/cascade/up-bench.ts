/** The queue to the upstream without a link: an upstream that answers when it is told to, and a clock that stands. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import type { UpBounds } from '../../../broker/cascade/up-bounds.ts';
import type { GiveUpReason, UpOutlet } from '../../../broker/cascade/up-outlet.ts';
import { UpQueue } from '../../../broker/cascade/up-queue.ts';
import { UpStore } from '../../../broker/cascade/up-store.ts';
import type { UpDelivery } from '../../../broker/cascade/up-store.ts';
import { noBytes } from '../../../broker/routing/message.ts';
import { Store } from '../../../broker/store/store.ts';

const terms = { qos: 1, retain: false, identifiers: noBytes, share: undefined } as const;
export const bounds: UpBounds = {
  messagesMax: 1e6,
  bytesMax: 1e9,
  ageMsMax: undefined,
  hangUpsMax: 3,
  whenFull: undefined,
};

/** An upstream that answers when the test says so. */
export class Upstream implements UpOutlet {
  windowMax = 1000;
  isReady = true;
  readonly sent: { text: string; packetId: number; duplicate: boolean; retain: boolean }[] = [];
  readonly rests: number[] = [];
  giveUp: (text: string) => GiveUpReason | undefined = () => undefined;
  pauseMs = 0;

  send({ message, retain }: UpDelivery, packetId: number, duplicate: boolean): number | GiveUpReason {
    const text = `${message.topic}=${message.payload.toString()}`;
    const reason = this.giveUp(text);
    if (reason !== undefined) return reason;
    this.sent.push({ text, packetId, duplicate, retain });
    return message.payload.length + 1;
  }

  later(delayMs: number): void {
    this.rests.push(delayMs);
  }

  waitMs(): number {
    return this.pauseMs;
  }

  get texts(): string[] {
    return this.sent.map(({ text }) => text);
  }

  idOf(text: string): number {
    return this.sent.findLast((one) => one.text === text)?.packetId ?? 0;
  }
}

export class Bench {
  readonly directory = mkdtempSync(path.join(tmpdir(), 'plombe-up-'));
  nowMs = 1_000_000;
  bounds = bounds;
  readonly dropped: string[] = [];
  readonly refused: string[] = [];
  readonly forgotten: string[] = [];
  readonly fullness: boolean[] = [];
  store = this.#openStore();
  queue = this.#openQueue();

  constructor(context?: TestContext) {
    context?.after(() => this.remove());
  }

  publish(topic: string, text: string | Buffer, more: { retain?: boolean; expiresMs?: number } = {}): void {
    const { retain = false, expiresMs } = more;
    const content = { topic, payload: Buffer.from(text), properties: noBytes, expiresMs };
    const id = this.store.insertMessage(content, 1);
    this.queue.enqueue({ ...content, id, storedTargets: 1 }, 1, { ...terms, retain });
    this.queue.pump();
  }

  /** The process ends after its last commit, and begins again. */
  restart(): void {
    this.store.close();
    this.store = this.#openStore();
    this.queue = this.#openQueue();
  }

  remove(): void {
    this.store.close();
    rmSync(this.directory, { recursive: true, force: true });
  }

  #openStore(): Store {
    return new Store({
      directory: this.directory,
      durability: 'os',
      bytesMax: 1e9,
      onFirstWrite: () => undefined,
    });
  }

  #openQueue(): UpQueue {
    return new UpQueue({
      store: new UpStore(this.store),
      bounds: () => this.bounds,
      clock: () => this.nowMs,
      onDropped: (reason, { message }) => this.dropped.push(`${message.topic} ${reason}`),
      onRefused: ({ message }, reason) => this.refused.push(`${message.topic} ${reason}`),
      onForgotten: ({ topic }) => this.forgotten.push(topic),
      onFull: (isFull) => this.fullness.push(isFull),
      random: () => 1,
    });
  }
}
