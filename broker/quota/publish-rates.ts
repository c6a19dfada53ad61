/** How much one identity, its account and its master account may publish in a second, over all of their connections. */
import { Recent } from './recent.ts';
import { holderOf, limitsOf } from './shares.ts';
import type { Share, ShareLimits } from './shares.ts';
import { TokenBucket } from './token-bucket.ts';

/** Far more than are connected; one that is forgotten begins again with a full burst. */
const rememberedMax = 100_000;

interface Meter {
  readonly messages: TokenBucket;
  readonly bytes: TokenBucket;
}

export class PublishRates {
  readonly #limits: ShareLimits;
  readonly #monotonicMs: () => number;
  /** They outlive the connection: who reconnects owes what it owed. */
  readonly #meters = new Recent<Meter>(rememberedMax);

  constructor(limits: ShareLimits, monotonicMs: () => number) {
    this.#limits = limits;
    this.#monotonicMs = monotonicMs;
  }

  /** What one connection spends from, looked up once. */
  of(identity: string): Allowance {
    const holder = holderOf(identity);
    const meters = new Map<Share, Meter>();
    for (const share of ['identity', 'account', 'masterAccount'] as const) {
      const name = holder[share];
      if (name !== undefined)
        meters.set(
          share,
          this.#meters.get(`${share} ${name}`, () => this.#meter(share)),
        );
    }
    return new Allowance([...meters], this.#limits, this.#monotonicMs);
  }

  #meter(share: Share): Meter {
    const { messagesPerSecondMax, bytesPerSecondMax } = limitsOf(this.#limits, share);
    const nowMs = this.#monotonicMs();
    return {
      messages: new TokenBucket(messagesPerSecondMax, nowMs),
      bytes: new TokenBucket(bytesPerSecondMax, nowMs),
    };
  }
}

export class Allowance {
  readonly #meters: readonly (readonly [Share, Meter])[];
  readonly #limits: ShareLimits;
  readonly #monotonicMs: () => number;

  constructor(meters: readonly (readonly [Share, Meter])[], limits: ShareLimits, monotonicMs: () => number) {
    this.#meters = meters;
    this.#limits = limits;
    this.#monotonicMs = monotonicMs;
  }

  /** @returns milliseconds until nothing is owed by any of them; 0 and 0 just ask */
  spend(messages: number, bytes: number): number {
    const nowMs = this.#monotonicMs();
    let waitMs = 0;
    for (const [share, meter] of this.#meters) {
      const { messagesPerSecondMax, bytesPerSecondMax } = limitsOf(this.#limits, share);
      waitMs = Math.max(
        waitMs,
        meter.messages.spend(messages, messagesPerSecondMax, nowMs),
        meter.bytes.spend(bytes, bytesPerSecondMax, nowMs),
      );
    }
    return waitMs;
  }
}
