/** The listener of MQTT over WebSocket: mutual TLS first, as for MQTT alone, then RFC 6455 §4.2 (MQTT 5 §6). */
import { createServer, STATUS_CODES } from 'node:http';
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { WebSocketServer } from 'ws';
import type { Peer } from '../access/identity.ts';
import type { BrokerLimits } from '../limits.ts';
import type { RefusalReason } from '../reasons.ts';
import { startListener } from './listener.ts';
import type { Listener, ListenerOptions } from './listener.ts';
import type { Transport } from './transport.ts';
import { webSocketTransport } from './websocket-transport.ts';

export interface WebSocketListenerOptions extends Omit<ListenerOptions, 'onPeer' | 'limits'> {
  /** Pages of these origins may connect, as browsers name them; whoever is no browser names none. */
  readonly origins: () => readonly string[];
  readonly limits: ListenerOptions['limits'] & Pick<BrokerLimits, 'connectSeconds' | 'packetBytesMax'>;
  /** A client that may say CONNECT; false if it cannot be served now. */
  readonly onPeer: (transport: Transport, peer: Peer) => boolean;
}

/** The one subprotocol [MQTT-6.0.0-3], [MQTT-6.0.0-4]. */
const subprotocol = 'mqtt';
/** Of a request, which has no use for more than a few headers. */
const headerBytesMax = 8 * 1024;

interface Refusal {
  readonly status: 400 | 403 | 408 | 426;
  readonly reason: RefusalReason;
  readonly detail?: string | undefined;
}

/** @throws the system's error if the address cannot be had */
export async function startWebSocketListener(options: WebSocketListenerOptions): Promise<Listener> {
  const handshakes = new Handshakes(options);
  const listener = await startListener({
    ...options,
    onPeer: (socket, peer) => {
      handshakes.begin(socket, peer);
      return true;
    },
  });
  return {
    port: listener.port,
    reload: (identity) => {
      listener.reload(identity);
      handshakes.reload();
    },
    close: () => {
      const closed = listener.close();
      handshakes.close();
      return closed;
    },
  };
}

/** Those whose certificate is verified and who have not asked for a WebSocket yet. */
class Handshakes {
  readonly #options: WebSocketListenerOptions;
  readonly #waiting = new Map<Duplex, Peer>();
  readonly #http: Server;
  readonly #webSockets: WebSocketServer;

  constructor(options: WebSocketListenerOptions) {
    this.#options = options;
    // It never listens: the TLS listener has verified who is there before a byte of HTTP is read.
    this.#http = createServer({ maxHeaderSize: headerBytesMax }, ({ socket }) =>
      this.#refuse(socket, { status: 426, reason: 'websocket_upgrade' }),
    );
    this.#webSockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false, // what is carried is sealed, and does not get smaller
      maxPayload: options.limits.packetBytesMax,
      handleProtocols: () => subprotocol,
    });
    const malformed = ({ message }: Error, socket: Duplex): void =>
      this.#refuse(socket, { status: 400, reason: 'websocket_malformed', detail: message });
    this.#http.on('clientError', malformed);
    this.#webSockets.on('wsClientError', malformed);
    this.#http.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
  }

  begin(socket: TLSSocket, peer: Peer): void {
    this.#waiting.set(socket, peer);
    const timer = setTimeout(() => {
      if (!this.#waiting.has(socket)) return;
      this.#refuse(socket, { status: 408, reason: 'websocket_timeout' });
    }, this.#options.limits.connectSeconds * 1000);
    socket.once('close', () => {
      clearTimeout(timer);
      this.#waiting.delete(socket);
    });
    this.#http.emit('connection', socket);
  }

  reload(): void {
    this.#webSockets.options.maxPayload = this.#options.limits.packetBytesMax;
  }

  close(): void {
    for (const socket of this.#waiting.keys()) socket.destroy();
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const peer = this.#waiting.get(socket);
    const refusal = refusalOf(request, this.#options.origins());
    if (refusal !== undefined) return this.#refuse(socket, refusal);
    return this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      this.#waiting.delete(socket);
      const isServed =
        peer !== undefined && this.#options.onPeer(webSocketTransport(webSocket, socket), peer);
      if (isServed) return;
      this.#report(socket, peer, { reason: 'unavailable' });
      webSocket.terminate();
    });
  }

  #refuse(socket: Duplex, refusal: Refusal): void {
    const { status } = refusal;
    this.#report(socket, this.#waiting.get(socket), refusal);
    this.#waiting.delete(socket);
    const head = [
      `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
      ...(status === 426 ? ['Upgrade: websocket'] : []), // RFC 9110 §15.5.22
      'Connection: close',
      'Content-Length: 0',
    ];
    socket.end(`${head.join('\r\n')}\r\n\r\n`, () => socket.destroy());
  }

  #report(
    socket: Duplex & { readonly remoteAddress?: string },
    peer: Peer | undefined,
    { reason, detail }: Pick<Refusal, 'reason' | 'detail'>,
  ): void {
    const { measures, log } = this.#options;
    const address = socket.remoteAddress;
    measures.refusals.inc({ reason });
    log.warn({ identity: peer?.identity, address, reason, detail }, 'connection.refused');
  }
}

function refusalOf({ headers }: IncomingMessage, origins: readonly string[]): Refusal | undefined {
  // A browser sends a certificate of its user's for any page that asks; only pages that are trusted may use it.
  const origin = headers.origin ?? headers['sec-websocket-origin'];
  if (origin !== undefined && !(typeof origin === 'string' && origins.includes(origin))) {
    return { status: 403, reason: 'websocket_origin', detail: String(origin).slice(0, 256) };
  }
  const offered = headers['sec-websocket-protocol']?.split(',').map((name) => name.trim()) ?? [];
  if (offered.includes(subprotocol)) return undefined; // [MQTT-6.0.0-3]
  return { status: 400, reason: 'websocket_subprotocol', detail: offered.join(', ').slice(0, 256) };
}
