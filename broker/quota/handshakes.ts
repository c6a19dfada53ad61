/** Those who have not shown who they are yet: how many begin in a second, how many there are at a time, and for how long. */
import type { Socket } from 'node:net';
import type { BrokerLimits } from '../limits.ts';
import { HandshakeGate, networkOf } from './handshake-gate.ts';
import type { RateRefusal } from './handshake-gate.ts';

export type HandshakeLimits = Pick<
  BrokerLimits,
  'handshakingMax' | 'handshakeSeconds' | 'handshakesPerSecondMax' | 'handshakesPerAddressPerSecondMax'
>;

export type HandshakeRefusal = RateRefusal | 'handshaking_max' | 'handshaking_per_address_max';

interface Handshake {
  readonly socket: Socket;
  readonly end: () => void;
}

export class Handshakes {
  readonly #limits: HandshakeLimits;
  readonly #gate: HandshakeGate;
  readonly #going = new Map<string, Handshake>();
  readonly #byNetwork = new Map<string, number>();

  constructor(limits: HandshakeLimits, monotonicMs: () => number) {
    this.#limits = limits;
    this.#gate = new HandshakeGate(limits, monotonicMs);
  }

  /** How many there are. */
  get size(): number {
    return this.#going.size;
  }

  /** @returns why one more connection cannot be now, or undefined */
  refusal(address: string): HandshakeRefusal | undefined {
    const { handshakingMax } = this.#limits;
    // A whole site may stand behind one address, but nobody keeps out all others.
    const ownMax = Math.ceil(handshakingMax / 2);
    if ((this.#byNetwork.get(networkOf(address)) ?? 0) >= ownMax) return 'handshaking_per_address_max';
    if (this.#going.size >= handshakingMax) return 'handshaking_max';
    return this.#gate.refusal(address);
  }

  /** Its time begins. */
  begin(socket: Socket): void {
    const key = peerKey(socket);
    const network = networkOf(socket.remoteAddress ?? '');
    // Node's own handshake time-out begins anew with each byte.
    const timer = setTimeout(() => socket.destroy(), this.#limits.handshakeSeconds * 1000);
    // Nothing of it is left behind: a connection lasts for days, and many are made at once.
    const end = (): void => {
      clearTimeout(timer);
      socket.off('close', end);
      this.#going.delete(key);
      this.#count(network, -1);
    };
    socket.once('close', end);
    this.#going.set(key, { socket, end });
    this.#count(network, 1);
  }

  /** @param socket - the TCP socket, or the TLS socket on top of it */
  end(socket: Socket): void {
    this.#going.get(peerKey(socket))?.end();
  }

  destroy(): void {
    for (const { socket } of this.#going.values()) socket.destroy();
  }

  #count(network: string, change: 1 | -1): void {
    const count = (this.#byNetwork.get(network) ?? 0) + change;
    if (count === 0) this.#byNetwork.delete(network);
    else this.#byNetwork.set(network, count);
  }
}

/** The same for a TLS socket and the TCP socket below it. */
function peerKey({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress ?? ''} ${remotePort ?? ''}`;
}
