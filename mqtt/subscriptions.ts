/** What a link subscribes, on every connection anew, and what the broker grants of it. */
import { encodeSubscribe, encodeUnsubscribe } from './client-packets.ts';
import type { LinkSubscription } from './client-packets.ts';
import { publishIdMax } from './outbound.ts';
import type { Qos } from './packets/qos.ts';
import type { LinkVersion } from './server-packets.ts';

export interface GrantedSubscription {
  readonly filter: string;
  readonly granted: Qos | 'refused';
}

export interface Wire {
  readonly version: LinkVersion;
  write(packet: Buffer): void;
}

type Done = (granted: readonly GrantedSubscription[]) => void;

interface Pending {
  readonly subscriptions: readonly LinkSubscription[];
  readonly done: Done;
}

/** Ids above those of publishes, which share one number space with them [MQTT-2.3.1-4]. */
const ids = 65_535 - publishIdMax;

export class Subscriptions {
  readonly #lasting: Map<string, LinkSubscription>;
  readonly #pending = new Map<number, Pending>();
  readonly #removals = new Map<number, () => void>();
  readonly #onSubscribed: Done;
  #wire: Wire | undefined;
  #lastId = 0;

  constructor(lasting: readonly LinkSubscription[], onSubscribed: Done) {
    this.#lasting = new Map(lasting.map((one) => [one.filter, one]));
    this.#onSubscribed = onSubscribed;
  }

  /** Subscribes now, or on the next connection, and again on every one. */
  add(subscription: LinkSubscription, done: Done): void {
    this.#lasting.set(subscription.filter, subscription);
    this.#ask([subscription], done);
  }

  /** Subscribes on this connection alone; `done` is not called if it ends before the answer. */
  ask(subscriptions: readonly LinkSubscription[], done: Done): void {
    if (this.#wire !== undefined) this.#ask(subscriptions, done);
  }

  /** Takes back what `ask` subscribed. */
  remove(filters: readonly string[], done: () => void): void {
    if (this.#wire === undefined) return;
    const id = this.#nextId();
    this.#removals.set(id, done);
    this.#wire.write(encodeUnsubscribe(id, filters, this.#wire.version));
  }

  connected(wire: Wire): void {
    this.#wire = wire;
    // What waited for its answer on the last connection is asked again on its own.
    const waiting = new Set([...this.#pending.values()].flatMap((one) => one.subscriptions));
    const rest = [...this.#lasting.values()].filter((one) => !waiting.has(one));
    for (const [id, { subscriptions }] of this.#pending) this.#write(id, subscriptions);
    if (rest.length > 0) this.#ask(rest, this.#onSubscribed);
  }

  disconnected(): void {
    this.#wire = undefined;
    this.#removals.clear();
    for (const [id, { subscriptions }] of this.#pending) {
      const isLasting = subscriptions.every((one) => this.#lasting.get(one.filter) === one);
      if (!isLasting || subscriptions.length > 1) this.#pending.delete(id);
    }
  }

  /** @returns what the broker granted, or undefined for an answer to nothing */
  answered(id: number, codes: readonly number[]): readonly GrantedSubscription[] | undefined {
    const pending = this.#pending.get(id);
    if (pending === undefined) return undefined;
    this.#pending.delete(id);
    const granted = pending.subscriptions.map(({ filter }, index) => ({
      filter,
      granted: grantedOf(codes[index]),
    }));
    pending.done(granted);
    return granted;
  }

  removed(id: number): void {
    const done = this.#removals.get(id);
    this.#removals.delete(id);
    done?.();
  }

  #ask(subscriptions: readonly LinkSubscription[], done: Done): void {
    const id = this.#nextId();
    this.#pending.set(id, { subscriptions, done });
    this.#write(id, subscriptions);
  }

  #write(id: number, subscriptions: readonly LinkSubscription[]): void {
    this.#wire?.write(encodeSubscribe(id, subscriptions, this.#wire.version));
  }

  #nextId(): number {
    do this.#lastId = (this.#lastId % ids) + 1;
    while (this.#pending.has(publishIdMax + this.#lastId) || this.#removals.has(publishIdMax + this.#lastId));
    return publishIdMax + this.#lastId;
  }
}

function grantedOf(code: number | undefined): Qos | 'refused' {
  return code === 0 || code === 1 || code === 2 ? code : 'refused'; // §3.9.3: from 0x80 on it failed
}
