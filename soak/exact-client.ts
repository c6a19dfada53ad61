/**
 * An MQTT 3.1.1 client that does all that the standard asks of one whose session is stored (§4.3, §4.4): its half of
 * every exchange outlives its connections, so whatever is lost or comes twice is the broker's doing.
 */
import { connect } from 'node:tls';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { setTimeout as sleep } from 'node:timers/promises';
import mqttPacket from 'mqtt-packet';
import type { IPublishPacket, Packet } from 'mqtt-packet';

export interface ExactClientOptions {
  readonly port: number;
  /** Who it is, and whom it trusts. */
  readonly tls: ConnectionOptions;
  readonly clientId: string;
  /** Subscribed to when the session begins, at this QoS. */
  readonly filters?: readonly string[];
  readonly qos?: 0 | 1 | 2;
  /** Unacknowledged messages; the others wait. */
  readonly window?: number;
  /** Of a message that the client now has, once for QoS 2. */
  readonly onMessage?: (message: IPublishPacket) => void;
  /** Of a message of its own that the broker has promised to carry. */
  readonly onAcknowledged?: (payload: string) => void;
  /** Looks at each packet; false keeps it from being answered, and everything after it, until `proceed`. */
  readonly onPacket?: (packet: Packet) => boolean;
}

interface Outgoing {
  readonly topic: string;
  readonly payload: string;
  readonly qos: 1 | 2;
  readonly retain: boolean;
}

/** Of a message that was sent: it is repeated until PUBREC came, and then its PUBREL is. */
interface Sent extends Outgoing {
  isReceived: boolean;
}

const packetIdMax = 65_535;
const retryMs = 50;

export class ExactClient {
  readonly #options: ExactClientOptions;
  readonly #waiting: Outgoing[] = [];
  readonly #sent = new Map<number, Sent>();
  /** Identifiers of QoS 2 messages that came and are not released. */
  readonly #incoming = new Set<number>();
  #socket: TLSSocket | undefined;
  #onPong: (() => void) | undefined;
  #isStaying = false;
  #isOpen = false;
  #isMute = false;
  /** The packet that made it mute. */
  #withheld: Packet | undefined;
  #lastPacketId = 0;
  /** Connections at whose beginning the broker had forgotten the session. */
  forgotten = 0;
  connections = 0;

  constructor(options: ExactClientOptions) {
    this.#options = options;
  }

  /** Messages that the broker has not promised to carry yet. */
  get unacknowledged(): number {
    return this.#waiting.length + this.#sent.size;
  }

  /** Resolves once the session stands, and what was open goes on. */
  async open(port = this.#options.port): Promise<void> {
    const { tls, clientId } = this.#options;
    const socket = connect({ host: '127.0.0.1', port, ...tls });
    this.#socket = socket;
    this.#isMute = false;
    socket.setNoDelay(true);
    const parser = mqttPacket.parser();
    await new Promise<void>((resolve, reject) => {
      parser.on('packet', (packet) => {
        if (socket !== this.#socket) return;
        if (packet.cmd === 'connack' && packet.returnCode === 0) {
          this.#opened(packet.sessionPresent);
          resolve();
        } else this.#received(packet);
      });
      socket.on('data', (bytes) => parser.parse(bytes));
      socket.once('secureConnect', () =>
        this.#send({
          cmd: 'connect',
          protocolId: 'MQTT',
          protocolVersion: 4,
          clean: false,
          clientId,
          keepalive: 60,
        }),
      );
      socket.once('error', reject);
      socket.once('close', () => {
        if (socket === this.#socket) this.#isOpen = false;
        reject(new Error('the connection ended'));
      });
    });
  }

  /** Connects again whenever the connection has ended, until `drop`. */
  async stay(): Promise<void> {
    this.#isStaying = true;
    while (this.#isStaying) {
      await this.open().catch(() => sleep(retryMs));
      await this.lost();
    }
  }

  /** Resolves when the broker has answered all that was sent. */
  async settled(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#onPong = resolve;
      this.#send({ cmd: 'pingreq' });
    });
  }

  /** Answers what it was kept from. Resolves when that is on its way. */
  async proceed(): Promise<void> {
    const packet = this.#withheld;
    this.#withheld = undefined;
    this.#isMute = false;
    if (packet !== undefined) this.#handle(packet);
    await this.written();
  }

  /** Resolves when the system has all that was sent. */
  async written(): Promise<void> {
    await new Promise<void>((resolve) => this.#socket?.write('', () => resolve()));
  }

  /** Resolves when the connection has ended. */
  async lost(): Promise<void> {
    const socket = this.#socket;
    if (socket === undefined || socket.closed) return;
    await new Promise<void>((resolve) => socket.once('close', () => resolve()));
  }

  /** Ends the connection without a goodbye. */
  drop(): void {
    this.#isStaying = false;
    this.#isOpen = false;
    this.#socket?.destroy();
  }

  publish(topic: string, payload: string, qos: 1 | 2, retain = false): void {
    this.#waiting.push({ topic, payload, qos, retain });
    this.#fill();
  }

  #opened(isSessionPresent: boolean): void {
    this.connections++;
    this.#isOpen = true;
    if (!isSessionPresent) {
      if (this.connections > 1) this.forgotten++;
      this.#incoming.clear();
      this.#subscribe();
    }
    // [MQTT-4.4.0-1], in the order in which they were first sent [MQTT-4.6.0-1].
    for (const [messageId, sent] of this.#sent) {
      if (sent.isReceived) this.#send({ cmd: 'pubrel', messageId });
      else this.#send({ ...publishPacket(sent, messageId), dup: true });
    }
    this.#fill();
  }

  #subscribe(): void {
    const { filters = [], qos = 2 } = this.#options;
    if (filters.length === 0) return;
    const subscriptions = filters.map((topic) => ({ topic, qos }));
    this.#send({ cmd: 'subscribe', messageId: packetIdMax, subscriptions });
  }

  #fill(): void {
    while (this.#isOpen && !this.#isMute && this.#sent.size < (this.#options.window ?? 50)) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      do {
        this.#lastPacketId = (this.#lastPacketId % (packetIdMax - 1)) + 1;
      } while (this.#sent.has(this.#lastPacketId));
      this.#sent.set(this.#lastPacketId, { ...next, isReceived: false });
      this.#send(publishPacket(next, this.#lastPacketId));
    }
  }

  #received(packet: Packet): void {
    if (this.#isMute) return;
    this.#isMute = this.#options.onPacket?.(packet) === false;
    if (this.#isMute) this.#withheld = packet;
    else this.#handle(packet);
  }

  #handle(packet: Packet): void {
    switch (packet.cmd) {
      case 'publish':
        return this.#arrived(packet);
      case 'pubrel':
        this.#incoming.delete(packet.messageId ?? 0);
        return this.#send({ cmd: 'pubcomp', messageId: packet.messageId ?? 0 });
      case 'puback':
        return this.#finished(packet.messageId ?? 0);
      case 'pubrec': {
        const sent = this.#sent.get(packet.messageId ?? 0);
        if (sent?.isReceived === false) this.#options.onAcknowledged?.(sent.payload);
        if (sent !== undefined) sent.isReceived = true;
        return this.#send({ cmd: 'pubrel', messageId: packet.messageId ?? 0 });
      }
      case 'pubcomp':
        return this.#finished(packet.messageId ?? 0);
      case 'pingresp':
        return this.#onPong?.();
      default:
        return undefined;
    }
  }

  #arrived(packet: IPublishPacket): void {
    const { qos, messageId = 0 } = packet;
    if (qos !== 2) {
      this.#options.onMessage?.(packet);
      if (qos === 1) this.#send({ cmd: 'puback', messageId });
      return;
    }
    // Method A of §4.3.3: once its identifier is kept, the message is this client's.
    if (!this.#incoming.has(messageId)) {
      this.#incoming.add(messageId);
      this.#options.onMessage?.(packet);
    }
    this.#send({ cmd: 'pubrec', messageId });
  }

  #finished(packetId: number): void {
    const sent = this.#sent.get(packetId);
    this.#sent.delete(packetId);
    if (sent?.qos === 1) this.#options.onAcknowledged?.(sent.payload);
    this.#fill();
  }

  #send(packet: Packet): void {
    if (this.#socket?.writable === true) this.#socket.write(mqttPacket.generate(packet));
  }
}

function publishPacket(message: Outgoing, messageId: number): IPublishPacket {
  const { topic, payload, qos, retain } = message;
  return { cmd: 'publish', topic, payload, qos, retain, dup: false, messageId };
}
