/**
 * What waits to leave a connection. Deliveries at QoS 0 and 1 promise nothing and leave at the end of the turn; answers, and
 * what has its place among them, leave once what they promise is safe.
 */
export class Output {
  #early: Buffer[] = [];
  #earlyBytes = 0;
  #late: Buffer[] = [];
  #lateBytes = 0;
  /** Whether a packet is among the late ones that no delivery may overtake. */
  #isLateOrdered = false;
  /** The same of those set apart. */
  #orderedApart = 0;
  #apart = 0;
  #apartBytes = 0;

  get bytes(): number {
    return this.#earlyBytes + this.#lateBytes + this.#apartBytes;
  }

  get isApart(): boolean {
    return this.#apart > 0;
  }

  /** An acknowledgement: it has its place among acknowledgements, and none among deliveries. */
  answer(packet: Buffer): void {
    this.#late.push(packet);
    this.#lateBytes += packet.length;
  }

  /** Any other packet; deliveries that follow stay behind it. */
  say(packet: Buffer): void {
    this.#isLateOrdered = true;
    this.answer(packet);
  }

  /** A delivery in its two parts, which are never copied together before they are written. */
  deliver(header: Buffer, payload: Buffer, isPromise: boolean): void {
    if (isPromise || this.#isLateOrdered || this.#orderedApart > 0) {
      this.say(header);
      this.say(payload);
      return;
    }
    this.#early.push(header, payload);
    this.#earlyBytes += header.length + payload.length;
  }

  takeEarly(): Buffer | undefined {
    if (this.#earlyBytes === 0) return undefined;
    const bytes = Buffer.concat(this.#early, this.#earlyBytes);
    this.#early = [];
    this.#earlyBytes = 0;
    return bytes;
  }

  takeLate(): Buffer | undefined {
    this.#isLateOrdered = false;
    if (this.#lateBytes === 0) return undefined;
    const bytes = this.#late.length === 1 ? this.#late[0] : Buffer.concat(this.#late, this.#lateBytes);
    this.#late = [];
    this.#lateBytes = 0;
    return bytes;
  }

  /** Sets the late ones apart from those of the turns that follow. @returns what gives them back, to be called once */
  setApart(): () => Buffer | undefined {
    const ordered = this.#isLateOrdered ? 1 : 0;
    const bytes = this.takeLate();
    const length = bytes?.length ?? 0;
    this.#apart++;
    this.#orderedApart += ordered;
    this.#apartBytes += length;
    return () => {
      this.#apart--;
      this.#orderedApart -= ordered;
      this.#apartBytes -= length;
      return bytes;
    };
  }

  clear(): void {
    this.takeEarly();
    this.takeLate();
  }
}
