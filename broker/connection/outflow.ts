/** What leaves for one client: what a turn delivers in one write, what it answers in another, and no more than it reads. */
import type { BrokerLimits } from '../limits.ts';
import type { Measures } from '../measures.ts';
import type { Flushable, Turn } from '../store/turn.ts';
import { Output } from './output.ts';
import type { Transport } from './transport.ts';

export interface OutflowOptions {
  readonly transport: Transport;
  readonly turn: Turn;
  readonly limits: Pick<BrokerLimits, 'outputBytesMax'>;
  readonly traffic: Measures['traffic'];
  /** Answers are about to leave. */
  readonly onAnswered: () => void;
  /** It does not read what it is sent. */
  readonly onFull: () => void;
  /** There may be room for more. */
  readonly onRoom: () => void;
}

/** A client that does not read its last packets is not waited for. */
const lingerMs = 2000;

export class Outflow implements Flushable {
  readonly #options: OutflowOptions;
  readonly #output = new Output();
  #isEnding = false;

  constructor(options: OutflowOptions) {
    this.#options = options;
  }

  /** Whether more may be delivered. */
  get isReady(): boolean {
    const pendingBytes = this.#output.bytes + this.#options.transport.pendingBytes;
    return !this.#isEnding && pendingBytes < this.#options.limits.outputBytesMax;
  }

  /** An acknowledgement: it has its place among acknowledgements, and none among deliveries. */
  answer(packet: Buffer): void {
    this.#output.answer(packet);
    this.#flushLater();
  }

  /** Any other packet; deliveries that follow stay behind it. */
  say(packet: Buffer): void {
    this.#output.say(packet);
    this.#flushLater();
  }

  /** A delivery in its two parts. @param isPromise - it may leave only after the commit */
  deliver(header: Buffer, payload: Buffer, isPromise: boolean): void {
    this.#output.deliver(header, payload, isPromise);
    this.#flushLater();
  }

  /** Writes what this turn delivers, before its commit. */
  flushEarly(): void {
    const bytes = this.#output.takeEarly();
    if (bytes !== undefined) this.#leave(bytes);
  }

  /** Writes all that this turn answered, once, after its commit. */
  flush(): void {
    this.#leaveAnswers(this.#output.takeLate());
  }

  setApart(): () => void {
    const takeApart = this.#output.setApart();
    return () => this.#leaveAnswers(takeApart());
  }

  /** Ends the transport after the last packet. */
  end(): void {
    this.#isEnding = true;
    this.#options.transport.destroyAfter(lingerMs);
    this.#options.turn.flushLater(this);
  }

  /** Ends it now; nothing more leaves. */
  abort(): void {
    this.#isEnding = true;
    this.#output.clear();
    this.#options.transport.destroy();
  }

  #flushLater(): void {
    const { traffic, turn } = this.#options;
    traffic.packetsSent++;
    turn.flushLater(this);
  }

  #leaveAnswers(bytes: Buffer | undefined): void {
    if (bytes !== undefined) this.#options.onAnswered();
    this.#leave(bytes);
  }

  #leave(bytes: Buffer | undefined): void {
    const { transport, turn, limits, traffic, onFull, onRoom } = this.#options;
    if (bytes !== undefined && !transport.isDestroyed) {
      traffic.bytesSent += bytes.length;
      const isTaken = transport.write(bytes);
      // One that does not read its acknowledgements is not read from either.
      if (transport.pendingBytes >= limits.outputBytesMax) onFull();
      // The turn's output alone may have stopped the delivery; no drain event follows then.
      else if (isTaken) turn.guard(onRoom);
    }
    // Not before the last turn that had something to say.
    if (this.#isEnding && this.#output.bytes === 0 && !this.#output.isApart) transport.end();
  }
}
