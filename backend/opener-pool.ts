/**
 * Verifies and opens on all cores. All that comes from a device goes to one thread, so it keeps its order, and a thread knows
 * the certificates of its own devices alone.
 */
import { parseDeviceTopic } from '../domain/topic.ts';
import { unknownOriginator } from './decryptor.ts';
import type { KeptChain, Trust } from './opener-messages.ts';
import { Opener } from './opener.ts';
import type { OpenedPart, OpenerOptions, OpenJob } from './opener.ts';
import type { KnownLayout } from './packed-arrivals.ts';
import type { QueuedMessage } from './queued-message.ts';

export interface OpenerPoolOptions extends Omit<OpenerOptions, 'readChains'> {
  readonly threads: number;
  /** All that are kept, the newest of each device last. */
  readonly readChains: () => Promise<readonly KeptChain[]>;
  readonly clock: () => number;
}

export class OpenerPool {
  readonly #openers: readonly Opener[];

  constructor({ threads, readChains, clock, onOpened, ...options }: OpenerPoolOptions) {
    this.#openers = Array.from(
      { length: threads },
      (_, index) =>
        new Opener({
          ...options,
          readChains: async () => {
            const chains = await readChains();
            return { chains: chains.filter(({ path }) => this.#indexOf(path) === index), nowMs: clock() };
          },
          onOpened: (parts, packed) => onOpened(this.#askOthers(parts, index), packed),
        }),
    );
  }

  open(message: QueuedMessage): void {
    const device = parseDeviceTopic(message.topic)?.device ?? '';
    const job: OpenJob = { kind: 'open', message, generation: undefined, strangers: 0, deaths: 0 };
    this.#openers[this.#indexOf(device)]?.add(job);
  }

  /** In its turn among the envelopes of the device. */
  publish(path: string, payload: Buffer, nowMs: number): Promise<Trust> {
    return new Promise((done) => {
      this.#openers[this.#indexOf(path)]?.add({ kind: 'certificates', path, payload, nowMs, done });
    });
  }

  replaceLists(pem: string): void {
    for (const opener of this.#openers) opener.replaceLists(pem);
  }

  /** Tells what the database said about channels, so that the next snapshots of the kind need not be looked at. */
  learn(layouts: readonly KnownLayout[]): void {
    for (const opener of this.#openers) opener.learn(layouts);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#openers.map((opener) => opener.stop()));
  }

  /**
   * Another thread may know who made what this one takes for a stranger's: then it is refused for what it is. No envelope of
   * the device itself can be overtaken by that, for its own thread has its certificates.
   *
   * @returns the others
   */
  #askOthers(parts: readonly OpenedPart[], index: number): readonly OpenedPart[] {
    return parts.filter(({ job, verdict }) => {
      if (verdict.kind !== 'refused' || verdict.reason !== unknownOriginator) return true;
      job.strangers += 1;
      if (job.strangers >= this.#openers.length) return true;
      this.#openers[(index + 1) % this.#openers.length]?.add(job);
      return false;
    });
  }

  /** FNV-1a of the path. */
  #indexOf(path: string): number {
    let hash = 0x811c9dc5;
    for (let at = 0; at < path.length; at++) hash = Math.imul(hash ^ path.charCodeAt(at), 0x01000193);
    return (hash >>> 0) % this.#openers.length;
  }
}
