/** What comes from one client: a bounded part in each turn, and nothing while there is a reason to wait. */
import type { Continuation } from '../../mqtt/packets/frames.ts';
import type { WireFault } from '../../mqtt/packets/packet-body.ts';
import type { IncomingPacket, ProtocolVersion } from '../packets/packets.ts';
import { PacketReader } from '../packets/wire.ts';
import type { Turn } from '../store/turn.ts';
import type { Transport } from './transport.ts';

/** What one client may have read in a turn; a system would deliver megabytes of it at once, and the others would wait. */
export const turnBytesMax = 128 * 1024;
/** The same for small packets: about a millisecond. */
export const turnPacketsMax = 512;

export type WaitReason =
  | 'hold' // nobody could be answered for now
  | 'output' // it does not read what it is answered
  | 'rate' // it sends more than it may
  | 'turn'; // the others have theirs first

export interface IntakeOptions {
  readonly transport: Pick<Transport, 'pause' | 'resume'>;
  readonly turn: Pick<Turn, 'count' | 'schedule' | 'guard'>;
  /** Of the first packet. */
  readonly packetBytesMax: number;
  /** Of one SUBSCRIBE or UNSUBSCRIBE. */
  readonly filtersMax: () => number;
  /** @returns false to read nothing more, ever */
  readonly onPacket: (packet: IncomingPacket) => boolean;
  /** A part was handled. @param fault - why the stream cannot be read any further */
  readonly onRead: (bytes: number, fault: WireFault | undefined) => void;
}

export class Intake {
  readonly #options: IntakeOptions;
  readonly #reader: PacketReader;
  readonly #reasons = new Set<WaitReason>();
  #isOver = false;
  /** The turn that the counts are of. */
  #turn = -1;
  #bytes = 0;
  #packets = 0;

  constructor(options: IntakeOptions) {
    this.#options = options;
    this.#reader = new PacketReader(
      options.packetBytesMax,
      (packet) => this.#receive(packet),
      options.filtersMax,
    );
  }

  /** Of a whole packet, fixed header included. */
  set packetBytesMax(bytes: number) {
    this.#reader.packetBytesMax = bytes;
  }

  /** As the CONNECT said, even if the rest of it was malformed. */
  get version(): ProtocolVersion | undefined {
    return this.#reader.version;
  }

  read(chunk: Buffer): void {
    if (this.#isOver) return;
    this.#beginTurn();
    this.#bytes += chunk.length;
    const fault = this.#reader.push(chunk);
    if (this.#isSpent && !this.#reasons.has('turn')) this.#yield();
    this.#options.onRead(chunk.length, fault);
  }

  /** Reads no more for now. */
  pause(reason: WaitReason): void {
    if (this.#isOver) return;
    this.#reasons.add(reason);
    this.#options.transport.pause();
  }

  /** Reads on, unless there is another reason not to. */
  resume(reason: WaitReason): void {
    if (this.#reasons.delete(reason) && this.#reasons.size === 0) this.#options.transport.resume();
  }

  /** Whatever comes from now on is thrown away. */
  end(): void {
    this.#isOver = true;
    if (this.#reasons.size > 0) this.#options.transport.resume();
    this.#reasons.clear();
  }

  get #isSpent(): boolean {
    return this.#bytes >= turnBytesMax || this.#packets >= turnPacketsMax;
  }

  #beginTurn(): void {
    const { turn } = this.#options;
    turn.schedule(); // or the counts would never begin again
    if (turn.count === this.#turn) return;
    this.#turn = turn.count;
    this.#bytes = 0;
    this.#packets = 0;
  }

  #receive(packet: IncomingPacket): Continuation {
    this.#packets += shareOf(packet.type);
    if (!this.#options.onPacket(packet)) return false;
    return this.#packets < turnPacketsMax ? true : 'later';
  }

  #yield(): void {
    this.pause('turn');
    // After the end of this turn, which was asked for before.
    setImmediate(() => this.#options.turn.guard(() => this.#readOn()));
  }

  #readOn(): void {
    if (this.#isOver) return;
    this.#beginTurn();
    const fault = this.#reader.readOn();
    if (this.#reader.hasRest) this.#yield();
    else this.resume('turn');
    this.#options.onRead(0, fault);
  }
}

/** What a packet counts as. */
function shareOf(type: IncomingPacket['type']): number {
  switch (type) {
    // Their window bounds them. Whoever reads for many answers more than each of them sends, and all wait for it.
    case 'puback':
    case 'pubrec':
    case 'pubrel':
    case 'pubcomp':
      return 0;
    // What is retained for it may be thousands of messages.
    case 'subscribe':
      return turnPacketsMax;
    default:
      return 1;
  }
}
