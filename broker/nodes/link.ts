/** Many channels over one connection: between the processes of a machine, or between nodes. */
import type { Socket } from 'node:net';
import type { Log } from '../../runtime/log.ts';
import { Channel } from './channel.ts';
import type { ChannelPurpose } from './frames.ts';
import { FrameReader, decodePurpose, encodePurpose, frameHeader, frameType } from './frames.ts';
import type { FrameType } from './frames.ts';

export interface LinkOptions {
  readonly log: Log;
  /** The other side opened a channel. Without it none may be opened. */
  readonly onChannel?: (channel: Channel, purpose: ChannelPurpose) => void;
  /** Every channel is closed already. */
  readonly onClosed: (reason: string) => void;
}

const pingMs = 1000;
/** So long a silence means that the other side is gone, although the connection still looks open. */
const silenceMs = 10_000;
/** For the last frames, where the other side does not take them. */
const finishMs = 2000;

export class Link {
  readonly #socket: Socket;
  readonly #options: LinkOptions;
  readonly #channels = new Map<number, Channel>();
  readonly #timer: NodeJS.Timeout;
  #lastChannel = 0;
  #isCorked = false;
  #isClosed = false;
  #silentTicks = 0;

  /** @param socket - a duplex of bytes to the one peer; nobody else reads or writes it */
  constructor(socket: Socket, options: LinkOptions) {
    this.#socket = socket;
    this.#options = options;
    const reader = new FrameReader({
      onData: (id, bytes) => this.#requireFair(this.#channels.get(id)?.received(bytes)),
      onFrame: (type, id, payload) => this.#receive(type, id, payload),
    });
    socket.on('data', (chunk: Buffer) => {
      this.#silentTicks = 0;
      this.#requireFair(reader.push(chunk));
    });
    socket.on('error', (error: NodeJS.ErrnoException) => this.close(error.code ?? error.message));
    socket.once('close', () => this.close('connection_lost'));
    this.#timer = setInterval(() => this.#tick(), pingMs);
    this.#timer.unref();
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get channels(): number {
    return this.#channels.size;
  }

  open(purpose: ChannelPurpose): Channel {
    this.#lastChannel = nextFree(this.#lastChannel, this.#channels);
    const channel = this.#add(this.#lastChannel, purpose);
    const payload = encodePurpose(purpose);
    this.#send(frameHeader(frameType.open, channel.id, payload.length), payload);
    return channel;
  }

  /** Ends it after what was sent has left. */
  finish(): void {
    if (this.#isClosed) return;
    setTimeout(() => this.close('finished'), finishMs).unref();
    // Not before what this turn of the event loop has sent.
    setImmediate(() => this.#socket.end());
  }

  /** Ends the connection and with it every channel. */
  close(reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearInterval(this.#timer);
    this.#socket.destroy();
    for (const channel of this.#channels.values()) channel.lost();
    this.#options.onClosed(reason);
  }

  #add(id: number, purpose: ChannelPurpose): Channel {
    const channel = new Channel(
      id,
      {
        send: (header, payload) => this.#send(header, payload),
        forget: (forgotten) => this.#channels.delete(forgotten),
      },
      purpose.kind === 'client' ? purpose.address : undefined,
    );
    this.#channels.set(id, channel);
    return channel;
  }

  /** All that one turn of the event loop sends leaves in one write. */
  #send(header: Buffer, payload?: Buffer): void {
    if (this.#isClosed) return;
    if (!this.#isCorked) {
      this.#isCorked = true;
      this.#socket.cork();
      process.nextTick(() => {
        this.#isCorked = false;
        this.#socket.uncork();
      });
    }
    this.#socket.write(header);
    if (payload !== undefined && payload.length > 0) this.#socket.write(payload);
  }

  #receive(type: Exclude<FrameType, 2>, id: number, payload: Buffer): void {
    const channel = this.#channels.get(id);
    switch (type) {
      case frameType.open:
        return this.#opened(id, payload);
      // For a channel that was closed here meanwhile, the rest means nothing.
      case frameType.credit:
        return channel?.credited(payload.readUInt32BE());
      case frameType.end:
        return channel?.endedByPeer();
      case frameType.close:
        return channel?.closedByPeer();
      case frameType.ping:
        return undefined;
    }
  }

  #opened(id: number, payload: Buffer): void {
    const { onChannel } = this.#options;
    const purpose = decodePurpose(payload);
    if (onChannel === undefined || purpose === undefined || this.#channels.has(id)) {
      return this.#requireFair('a channel that cannot be opened');
    }
    return onChannel(this.#add(id, purpose), purpose);
  }

  /** Only one of us is on the other side, so whatever it does wrong is a fault that the log must show. */
  #requireFair(fault: string | undefined): void {
    if (fault === undefined || this.#isClosed) return;
    this.#options.log.error({ reason: 'link_fault', detail: fault }, 'node.link_failed');
    this.close('link_fault');
  }

  #tick(): void {
    this.#send(frameHeader(frameType.ping, 0, 0));
    // Counted in ticks of our own loop: what it slept through, it could not hear.
    if (++this.#silentTicks * pingMs > silenceMs) this.close('silent');
  }
}

const channelMax = 0xffff_ffff;

/** Only one side opens channels, so its numbers meet nobody else's. */
function nextFree(last: number, taken: ReadonlyMap<number, Channel>): number {
  let next = last;
  do next = next === channelMax ? 1 : next + 1;
  while (taken.has(next));
  return next;
}
