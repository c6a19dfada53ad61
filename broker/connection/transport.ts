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
  const { remoteAddress } = socket;
  return {
    remoteAddress,
    get pendingBytes() {
      return socket.writableLength;
    },
    get isDestroyed() {
      return socket.destroyed;
    },
    start: ({ onBytes, onDrain, onError, onClose }) => {
      socket.on('data', onBytes);
      socket.on('drain', onDrain);
      socket.on('error', (error: NodeJS.ErrnoException) => onError(error.code ?? 'socket_error'));
      socket.once('close', onClose);
    },
    write: (bytes) => socket.write(bytes),
    pause: () => {
      socket.pause();
    },
    resume: () => {
      socket.resume();
    },
    end: () => {
      // Half: whatever the peer still sends is read and thrown away, for closing with unread bytes makes TCP reset the
      // connection, and a reset takes from the peer what it has not read of ours (RFC 9293 §3.6.1, RFC 1122 §4.2.2.13).
      socket.end();
      socket.resume();
    },
    destroyAfter: (lingerMs) => {
      // Not the socket's own time-out: whoever goes on sending would put that off for ever.
      const timer = setTimeout(() => socket.destroy(), lingerMs);
      socket.once('close', () => clearTimeout(timer));
    },
    destroy: () => {
      socket.destroy();
    },
  };
}
