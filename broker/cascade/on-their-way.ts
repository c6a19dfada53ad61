/** Messages that went up and are not answered, by the packet identifiers that they went under. */
import { outboundIdMax } from '../../mqtt/outbound.ts';
import type { Lane } from './lanes.ts';
import type { UpDelivery } from './up-store.ts';

export interface InFlight {
  readonly delivery: UpDelivery;
  readonly lane: Lane;
}

export class OnTheirWay {
  readonly #byPacketId = new Map<number, InFlight>();
  #bytes = 0;
  #lastPacketId = 0;

  get size(): number {
    return this.#byPacketId.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** In the order in which they were sent. */
  get sequences(): number[] {
    return Array.from(this.#byPacketId.values(), ({ delivery }) => delivery.sequence);
  }

  /** @returns an identifier that none of them has */
  freePacketId(): number {
    do this.#lastPacketId = (this.#lastPacketId % outboundIdMax) + 1;
    while (this.#byPacketId.has(this.#lastPacketId));
    return this.#lastPacketId;
  }

  add(packetId: number, delivery: UpDelivery, lane: Lane): void {
    this.#byPacketId.set(packetId, { delivery, lane });
    this.#bytes += delivery.bytes;
    lane.inFlight++;
  }

  take(packetId: number): InFlight | undefined {
    const taken = this.#byPacketId.get(packetId);
    if (taken === undefined) return undefined;
    this.#byPacketId.delete(packetId);
    this.#bytes -= taken.delivery.bytes;
    taken.lane.inFlight--;
    return taken;
  }

  /** @param sequence - of the delivery */
  takeBySequence(sequence: number): InFlight | undefined {
    for (const [packetId, { delivery }] of this.#byPacketId) {
      if (delivery.sequence === sequence) return this.take(packetId);
    }
    return undefined;
  }

  /** @returns all of them, with their identifiers, in their order */
  takeAll(): (InFlight & { readonly packetId: number })[] {
    const all = Array.from(this.#byPacketId, ([packetId, one]) => ({ packetId, ...one }));
    for (const { packetId } of all) this.take(packetId);
    return all;
  }
}
