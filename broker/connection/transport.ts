/** How a connection's bytes come and go: what it needs of a TLS socket, of a WebSocket, or of whatever carries it. */
import type { TLSSocket } from 'node:tls';
import type { WireFault } from '../../mqtt/packets/packet-body.ts';

/** What becomes of a transport; each is called outside of any turn. */
export interface TransportEvents {
  readonly onBytes: (chunk: Buffer) => void;
  /** All that was written has left, after a `write` that returned false. */
  readonly onDrain: () => void;
  /** What carries the bytes was misused by the peer. */
  readonly onFault: (fault: WireFault) => void;
  /** @param reason - the system's error code where there is one */
  readonly onError: (reason: string) => void;
  readonly onClose: () => void;
}

export interface Transport {
  /** Of the peer, for the log; known until the end. */
  readonly remoteAddress?: string | undefined;
  /** Bytes that were written and that the system has not taken yet. */
  readonly pendingBytes: number;
  readonly isDestroyed: boolean;
  /** Begins to deliver; called once. */
  start(events: TransportEvents): void;
  /** @returns false if `onDrain` follows */
  write(bytes: Buffer): boolean;
  /** Stops reading, so that the peer has to wait, until `resume`. */
  pause(): void;
  resume(): void;
  /** Ends after the last byte that was written; what comes from then on is still delivered, until the peer ends too. */
  end(): void;
  /** Destroys it if it has not ended by then, whatever the peer does or leaves undone. */
  destroyAfter(lingerMs: number): void;
  destroy(): void;
}

/** @param socket - after its handshake */
export function tlsTransport(socket: TLSSocket): Transport {
  return new TlsTransport(socket);
}

/** A class, for there is one of each connection, and a closure for each method of each would take 1.6 KiB more. */
class TlsTransport implements Transport {
  readonly remoteAddress: string | undefined;
  readonly #socket: TLSSocket;

  constructor(socket: TLSSocket) {
    this.remoteAddress = socket.remoteAddress;
    this.#socket = socket;
  }

  get pendingBytes(): number {
    return this.#socket.writableLength;
  }

  get isDestroyed(): boolean {
    return this.#socket.destroyed;
  }

  start({ onBytes, onDrain, onError, onClose }: TransportEvents): void {
    const socket = this.#socket;
    socket.on('data', onBytes);
    socket.on('drain', onDrain);
    socket.on('error', (error: NodeJS.ErrnoException) => onError(error.code ?? 'socket_error'));
    socket.once('close', onClose);
  }

  write(bytes: Buffer): boolean {
    return this.#socket.write(bytes);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  end(): void {
    // Half: whatever the peer still sends is read and thrown away, for closing with unread bytes makes TCP reset the
    // connection, and a reset takes from the peer what it has not read of ours (RFC 9293 §3.6.1, RFC 1122 §4.2.2.13).
    this.#socket.end();
    this.#socket.resume();
  }

  destroyAfter(lingerMs: number): void {
    const socket = this.#socket;
    // Not the socket's own time-out: whoever goes on sending would put that off for ever.
    const timer = setTimeout(() => socket.destroy(), lingerMs);
    socket.once('close', () => clearTimeout(timer));
  }

  destroy(): void {
    this.#socket.destroy();
  }
}
