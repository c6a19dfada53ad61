/** A bad wire: carries TCP connections to a target, and cuts, stalls, halves or delays them when told to. */
import { createServer, connect } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';

export const wireFaults = [
  'cut', // both ends learn of it at once
  'stall', // nothing passes any more, and neither end is told
  'half-open', // the target's end is closed, the other end is not told
  'delay', // everything comes, later
] as const;
export type WireFault = (typeof wireFaults)[number];

/** One connection; once it is dead, nothing passes in either direction, not even its end. */
interface Pair {
  readonly near: Socket;
  readonly far: Socket;
  isDead: boolean;
}

export class Wire {
  readonly #server: Server;
  readonly #targetPort: number;
  readonly #pairs = new Set<Pair>();
  #delayMs = 0;
  #isStalled = false;

  constructor(targetPort: number) {
    this.#targetPort = targetPort;
    this.#server = createServer({ noDelay: true }, (near) => this.#accept(near));
  }

  /** @returns the port to connect to instead of the target's */
  async open(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return (this.#server.address() as AddressInfo).port;
  }

  begin(fault: WireFault, delayMs: number): void {
    if (fault === 'delay') this.#delayMs = delayMs;
    if (fault === 'stall') this.#isStalled = true;
    if (fault === 'delay') return;
    for (const pair of this.#pairs) {
      pair.isDead = true;
      if (fault !== 'stall') pair.far.resetAndDestroy();
      if (fault === 'cut') pair.near.resetAndDestroy();
    }
  }

  /** Connections that are opened from now on are good; those that died stay dead. */
  end(): void {
    this.#isStalled = false;
    this.#delayMs = 0;
  }

  async close(): Promise<void> {
    for (const { near, far } of this.#pairs) {
      near.destroy();
      far.destroy();
    }
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #accept(near: Socket): void {
    const far = connect({ host: '127.0.0.1', port: this.#targetPort, noDelay: true });
    const pair: Pair = { near, far, isDead: this.#isStalled };
    this.#pairs.add(pair);
    this.#carry(pair, near, far);
    this.#carry(pair, far, near);
  }

  #carry(pair: Pair, source: Socket, target: Socket): void {
    const lane = new Lane(() => this.#delayMs);
    source.on('data', (bytes) =>
      lane.put(() => {
        if (!pair.isDead && target.writable) target.write(bytes);
      }),
    );
    source.on('error', () => undefined); // `close` follows
    source.on('close', () =>
      lane.put(() => {
        if (!pair.isDead) target.destroySoon();
        if (pair.near.destroyed && pair.far.destroyed) this.#pairs.delete(pair);
      }),
    );
  }
}

/** One direction: what enters leaves later and in its order, also when the delay changes. */
class Lane {
  readonly #delayMs: () => number;
  readonly #waiting: { readonly work: () => void; readonly dueMs: number }[] = [];

  constructor(delayMs: () => number) {
    this.#delayMs = delayMs;
  }

  put(work: () => void): void {
    const delayMs = this.#delayMs();
    if (delayMs === 0 && this.#waiting.length === 0) return work();
    this.#waiting.push({ work, dueMs: performance.now() + delayMs });
    if (this.#waiting.length === 1) this.#schedule();
    return undefined;
  }

  #schedule(): void {
    const [first] = this.#waiting;
    if (first === undefined) return;
    setTimeout(
      () => {
        this.#waiting.shift();
        first.work();
        this.#schedule();
      },
      Math.max(0, first.dueMs - performance.now()),
    );
  }
}
