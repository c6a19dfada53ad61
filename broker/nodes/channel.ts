/** One connection of many over a link: bytes both ways with flow control of its own, as a transport. */
import type { Transport, TransportEvents } from '../connection/transport.ts';
import { creditFrame, frameHeader, frameType } from './frames.ts';

/** How much a channel sends before the other side has taken it; more waits here, and with it whoever writes. */
export const windowBytes = 256 * 1024;
/** From here on `write` asks its caller to wait, as a socket does. */
const highWaterBytes = 64 * 1024;

/** The link, as far as a channel uses it. */
export interface ChannelLink {
  send(header: Buffer, payload?: Buffer): void;
  forget(channel: number): void;
}

export class Channel implements Transport {
  readonly id: number;
  /** Of the client whose bytes it carries; undefined for what is no client's. */
  readonly remoteAddress: string | undefined;
  readonly #link: ChannelLink;
  #events: TransportEvents | undefined;
  #isPaused = true;
  /** Came and was not delivered, so no credit was given for it. */
  #undelivered: Buffer[] = [];
  #undeliveredBytes = 0;
  /** Written, but beyond the window. */
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  /** Sent, and no credit was given for it. */
  #outstandingBytes = 0;
  #needsDrain = false;
  #isEnded = false;
  #isEndSent = false;
  #isFinishing = false;
  #isClosedByPeer = false;
  #isDestroyed = false;
  #lingerTimer: NodeJS.Timeout | undefined;
  #onEnd: (() => void) | undefined;

  constructor(id: number, link: ChannelLink, remoteAddress?: string) {
    this.id = id;
    this.remoteAddress = remoteAddress;
    this.#link = link;
  }

  get pendingBytes(): number {
    return this.#waitingBytes + this.#outstandingBytes;
  }

  get isDestroyed(): boolean {
    return this.#isDestroyed;
  }

  start(events: TransportEvents): void {
    this.#events = events;
    this.resume();
  }

  /** Calls back when the other side has written its last byte. */
  whenEnded(listener: () => void): void {
    this.#onEnd = listener;
  }

  write(bytes: Buffer): boolean {
    if (this.#isDestroyed || this.#isEnded) return true;
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    this.#sendWaiting();
    this.#needsDrain ||= this.pendingBytes >= highWaterBytes;
    return !this.#needsDrain;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    if (!this.#isPaused || this.#events === undefined) return;
    this.#isPaused = false;
    // As a socket does: not within the call that asked for it.
    if (this.#undelivered.length > 0 || this.#isClosedByPeer) setImmediate(() => this.#deliverWaiting());
  }

  end(): void {
    if (this.#isEnded || this.#isDestroyed) return;
    this.#isEnded = true;
    this.#sendWaiting();
    this.resume();
  }

  destroyAfter(lingerMs: number): void {
    this.#lingerTimer ??= setTimeout(() => this.destroy(), lingerMs);
  }

  destroy(): void {
    if (this.#isDestroyed) return;
    if (!this.#isClosedByPeer) this.#link.send(frameHeader(frameType.close, this.id, 0));
    this.#close();
  }

  /** Ends both ways, but only after all that was written: the other side may take its time for it. */
  finish(): void {
    this.#isFinishing = true;
    if (this.#isEndSent) this.destroy();
    else this.end();
  }

  /** The link's side: what came for this channel. @returns what is wrong with it */
  received(bytes: Buffer): string | undefined {
    if (this.#isDestroyed) return undefined;
    if (this.#isPaused || this.#undelivered.length > 0) {
      this.#undelivered.push(bytes);
      this.#undeliveredBytes += bytes.length;
      return this.#undeliveredBytes > windowBytes ? 'more than its window' : undefined;
    }
    this.#events?.onBytes(bytes);
    this.#credit(bytes.length);
    return undefined;
  }

  /** The other side has taken so much. */
  credited(bytes: number): void {
    this.#outstandingBytes = Math.max(0, this.#outstandingBytes - bytes);
    this.#sendWaiting();
    if (!this.#needsDrain || this.pendingBytes > 0) return;
    this.#needsDrain = false;
    this.#events?.onDrain();
  }

  endedByPeer(): void {
    this.#onEnd?.();
  }

  /** The other side is gone; what it had sent before is still delivered. */
  closedByPeer(): void {
    if (this.#isClosedByPeer) return;
    this.#isClosedByPeer = true;
    if (this.#undelivered.length === 0) this.#close();
  }

  /** The link is gone: nothing more comes, and nothing more can leave. */
  lost(): void {
    this.#isClosedByPeer = true;
    this.#close();
  }

  #close(): void {
    if (this.#isDestroyed) return;
    this.#isDestroyed = true;
    clearTimeout(this.#lingerTimer);
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#undelivered = [];
    this.#undeliveredBytes = 0;
    this.#link.forget(this.id);
    setImmediate(() => this.#events?.onClose());
  }

  #deliverWaiting(): void {
    while (!this.#isPaused && !this.#isDestroyed) {
      const bytes = this.#undelivered.shift();
      if (bytes === undefined) break;
      this.#undeliveredBytes -= bytes.length;
      this.#events?.onBytes(bytes);
      this.#credit(bytes.length);
    }
    if (this.#undelivered.length === 0 && this.#isClosedByPeer) this.#close();
  }

  #credit(bytes: number): void {
    if (!this.#isClosedByPeer && !this.#isDestroyed) this.#link.send(creditFrame(this.id, bytes));
  }

  #sendWaiting(): void {
    while (this.#waiting.length > 0 && this.#outstandingBytes < windowBytes) {
      const [first] = this.#waiting;
      if (first === undefined) break;
      const part = first.subarray(0, windowBytes - this.#outstandingBytes);
      if (part.length === first.length) this.#waiting.shift();
      else this.#waiting[0] = first.subarray(part.length);
      this.#waitingBytes -= part.length;
      this.#outstandingBytes += part.length;
      this.#link.send(frameHeader(frameType.data, this.id, part.length), part);
    }
    if (this.#isEnded && this.#waiting.length === 0) this.#sendEnd();
  }

  #sendEnd(): void {
    if (this.#isEndSent) return;
    this.#isEndSent = true;
    if (this.#isFinishing) this.destroy();
    else this.#link.send(frameHeader(frameType.end, this.id, 0));
  }
}
