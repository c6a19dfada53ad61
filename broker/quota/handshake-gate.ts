/** How many connections may begin in a second, from one address and from all: asked before any TLS is spoken. */
import { isIPv6 } from 'node:net';
import type { BrokerLimits } from '../limits.ts';
import { Recent } from './recent.ts';
import { TokenBucket } from './token-bucket.ts';

export type RateRefusal = 'handshakes_per_address_max' | 'handshakes_max';

/** Of addresses; who shows more makes the broker forget the others, and the bound on all of them still holds. */
const rememberedMax = 20_000;

export class HandshakeGate {
  readonly #limits: Pick<BrokerLimits, 'handshakesPerSecondMax' | 'handshakesPerAddressPerSecondMax'>;
  readonly #monotonicMs: () => number;
  readonly #all: TokenBucket;
  readonly #byNetwork = new Recent<TokenBucket>(rememberedMax);

  constructor(
    limits: Pick<BrokerLimits, 'handshakesPerSecondMax' | 'handshakesPerAddressPerSecondMax'>,
    monotonicMs: () => number,
  ) {
    this.#limits = limits;
    this.#monotonicMs = monotonicMs;
    this.#all = new TokenBucket(limits.handshakesPerSecondMax, monotonicMs());
  }

  /** How many networks are remembered. */
  get size(): number {
    return this.#byNetwork.size;
  }

  /** @returns why one more connection from the address cannot be now, or undefined */
  refusal(address: string): RateRefusal | undefined {
    const { handshakesPerSecondMax, handshakesPerAddressPerSecondMax } = this.#limits;
    const nowMs = this.#monotonicMs();
    const network = networkOf(address);
    const own = this.#byNetwork.get(network, () => new TokenBucket(handshakesPerAddressPerSecondMax, nowMs));
    // The address first: one that knocks too often must not use up what all have together.
    if (!own.take(handshakesPerAddressPerSecondMax, nowMs)) return 'handshakes_per_address_max';
    return this.#all.take(handshakesPerSecondMax, nowMs) ? undefined : 'handshakes_max';
  }
}

/** @returns the IPv4 address, or the first 64 bits of an IPv6 address, for one host has all that follow (RFC 4291 §2.5.1) */
export function networkOf(address: string): string {
  const plain = address.replace(/%.*$/, '');
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(plain)?.[1]; // RFC 4291 §2.5.5.2
  if (mapped !== undefined) return mapped;
  if (!isIPv6(plain)) return plain;
  const [head = '', tail] = plain.split('::', 2);
  const front = head === '' ? [] : head.split(':');
  const back = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : 8 - front.length - back.length;
  const groups = [...front, ...Array.from({ length: zeros }, () => '0'), ...back].slice(0, 4);
  return groups.map((group) => Number.parseInt(group, 16).toString(16)).join(':');
}
