/** MQTT packets in binary WebSocket frames (MQTT 5 §6, the same as MQTT 3.1.1 §6). */
import type { WebSocket } from 'ws';
import type { WireFault } from '../../mqtt/packets/packet-body.ts';
import { malformed, protocolError } from '../../mqtt/packets/packet-body.ts';
import type { Transport } from './transport.ts';

/** RFC 6455 §7.4.1: the purpose is fulfilled. */
const normalClosure = 1000;

/** @param webSocket - after its handshake, without compression, so that what is written is in its socket at once */
export function webSocketTransport(webSocket: WebSocket, socket: WritableEnd): Transport {
  const { remoteAddress } = socket;
  return {
    remoteAddress,
    get pendingBytes() {
      return socket.writableLength;
    },
    get isDestroyed() {
      return socket.destroyed;
    },
    start: ({ onBytes, onDrain, onFault, onClose }) => {
      // A frame may hold several packets, a packet may span frames: to whoever reads them it is one stream [MQTT-6.0.0-2].
      webSocket.on('message', (data: Buffer, isBinary) => {
        if (isBinary) onBytes(data);
        else onFault(protocolError('a WebSocket text frame')); // [MQTT-6.0.0-1]
      });
      webSocket.on('error', (error: NodeJS.ErrnoException) => onFault(faultOf(error)));
      webSocket.once('close', onClose);
      socket.on('drain', onDrain);
    },
    write: (bytes) => {
      webSocket.send(bytes, { binary: true });
      return !socket.writableNeedDrain;
    },
    pause: () => {
      webSocket.pause();
    },
    resume: () => {
      webSocket.resume();
    },
    end: () => {
      webSocket.close(normalClosure);
    },
    destroyAfter: (lingerMs) => {
      const timer = setTimeout(() => webSocket.terminate(), lingerMs);
      webSocket.once('close', () => clearTimeout(timer));
    },
    destroy: () => {
      webSocket.terminate();
    },
  };
}

/** Of the socket below, how much has not left yet. */
interface WritableEnd {
  readonly remoteAddress?: string | undefined;
  readonly writableLength: number;
  readonly writableNeedDrain: boolean;
  readonly destroyed: boolean;
  on(event: 'drain', listener: () => void): unknown;
}

function faultOf({ code, message }: NodeJS.ErrnoException): WireFault {
  return code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH'
    ? { reason: 'packet_too_large', detail: message }
    : malformed(`the WebSocket frame: ${message}`);
}
