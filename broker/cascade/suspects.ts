/**
 * Messages at which the upstream may be hanging up. One of MQTT 3.1.1 has no other way to refuse one, and one of any
 * version may break over it; so what was on its way each time goes alone, until it is known which one it is. An upstream
 * that takes nothing at all, as one that is not configured yet, is no evidence against any message.
 */

/** Hang-ups in a row at which a message was on its way, before it goes alone. */
const suspectFrom = 2;
/** An upstream that is being restarted hangs up, too: whatever is tried how often, it is given so much time. */
const patienceMs = 60_000;

export class Suspects {
  /** By sequence: hang-ups in a row at which a message was on its way. */
  readonly #hangUps = new Map<number, number>();
  readonly #suspects = new Set<number>();
  /** By sequence: hang-ups on a message that went alone, on a connection that had just taken another one. */
  readonly #evidence = new Map<number, { readonly sinceMs: number; times: number }>();
  #hasTaken = false;

  /** Whether one message at a time is to be on its way, and nothing beside it. */
  get areSome(): boolean {
    return this.#suspects.size > 0;
  }

  /** A new connection. */
  connected(): void {
    this.#hasTaken = false;
  }

  /** It has taken a message: it is there, and takes what it is sent. */
  taken(): void {
    this.#hasTaken = true;
  }

  /**
   * The upstream ended a connection.
   *
   * @param sequences - of what was on its way
   * @returns the one that went alone, if one did
   */
  hungUp(sequences: readonly number[]): number | undefined {
    const wentAlone = this.areSome && sequences.length === 1;
    if (sequences.length > 0) this.#count(sequences);
    return wentAlone ? sequences[0] : undefined;
  }

  /**
   * It did so over a message that went alone, which is evidence if it had just taken another one.
   *
   * @param timesMax - of such ends until a message is given up
   * @returns whether this one is to be given up now
   */
  isProven(sequence: number, timesMax: number, nowMs: number): boolean {
    if (!this.#hasTaken) return false;
    const evidence = this.#evidence.get(sequence) ?? { sinceMs: nowMs, times: 0 };
    this.#evidence.set(sequence, evidence);
    return ++evidence.times >= timesMax && nowMs - evidence.sinceMs >= patienceMs;
  }

  /** The upstream has said something to a message, or it does not go up any more. */
  settled(sequence: number): void {
    if (!this.#hangUps.delete(sequence)) return;
    this.#suspects.delete(sequence);
    this.#evidence.delete(sequence);
  }

  #count(sequences: readonly number[]): void {
    if (!this.areSome) {
      for (const sequence of this.#hangUps.keys()) {
        if (!sequences.includes(sequence)) this.#hangUps.delete(sequence);
      }
    }
    for (const sequence of sequences) {
      const times = (this.#hangUps.get(sequence) ?? 0) + 1;
      this.#hangUps.set(sequence, times);
      if (times >= suspectFrom) this.#suspects.add(sequence);
    }
  }
}
