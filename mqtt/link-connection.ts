/** One connection of a link: packets in, packets out, one write for each turn, until it is lost or closed. */
import type { TLSSocket } from 'node:tls';
import {
  encodeConnect,
  disconnect,
  disconnectWithWill,
  pingreq,
  publishProperties,
} from './client-packets.ts';
import type { Connect } from './client-packets.ts';
import { KeepAlive } from './keep-alive.ts';
import { LinkError } from './link-error.ts';
import type { Sender } from './outbound.ts';
import { Output } from './output.ts';
import { encodeAcknowledgement, encodePublishHeader } from './packets/encode.ts';
import { FrameReader } from './packets/frames.ts';
import type { WireFault } from './packets/packet-body.ts';
import type { Qos } from './packets/qos.ts';
import {
  decodeAcknowledgement,
  decodeConnack,
  decodeGoodbye,
  decodePublish,
  decodeSuback,
} from './server-packets.ts';
import type { Answer, Connack, LinkVersion, ReceivedPublish } from './server-packets.ts';

export interface ConnectionOptions {
  readonly version: LinkVersion;
  readonly connect: Connect;
  /** Until the CONNACK. */
  readonly answerTimeoutMs: number;
  /** Runs `flush` once when the current turn is over. */
  readonly schedule: (flush: () => void) => void;
  readonly handler: ConnectionHandler;
}

export interface ConnectionHandler {
  /** @throws LinkError if the connection is of no use */
  connack(connack: Connack): void;
  publish(packet: ReceivedPublish): void;
  acknowledged(packetId: number, code: number, reason: string | undefined): void;
  released(packetId: number): void;
  subscribed(answer: Answer): void;
  unsubscribed(answer: Answer): void;
  drained(): void;
  closed(end: ConnectionEnd): void;
}

export interface ConnectionEnd {
  readonly reason: string;
  /** Nothing came in answer to the CONNECT. */
  readonly wasSilent: boolean;
  /** The broker ended it, by whatever means; not this side, and not silence. */
  readonly isHangUp: boolean;
}

/** Control packet types (MQTT 3.1.1 §2.2.1, MQTT 5 §2.1.2). */
const packetType = {
  connack: 2,
  publish: 3,
  puback: 4,
  pubrel: 6,
  suback: 9,
  unsuback: 11,
  pingresp: 13,
  disconnect: 14,
} as const;

/** What may wait in the socket before senders pause. */
const outputBytesMax = 1024 * 1024;
const reasonLengthMax = 256;
const noBytes = Buffer.alloc(0);
/** Of the system, when the other side does not want to hear any more. */
const hangUpCodes: ReadonlySet<unknown> = new Set(['ECONNRESET', 'EPIPE']);

export class LinkConnection implements Sender {
  readonly #socket: TLSSocket;
  readonly #options: ConnectionOptions;
  readonly #frames: FrameReader;
  readonly #output = new Output();
  readonly #answerTimer: NodeJS.Timeout;
  #keepAlive: KeepAlive;
  #isFlushScheduled = false;
  #isPaused = false;
  #isHeld = false;
  #connack: Connack | undefined;
  #reason = 'the broker closed the connection';
  #isHangUp = true;

  /** Takes a socket whose other end was verified, and says CONNECT. */
  constructor(socket: TLSSocket, options: ConnectionOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#frames = new FrameReader(options.connect.packetBytesMax, (first, data, start, end) =>
      this.#receive(first, data, start, end),
    );
    this.#frames.areLengthsMinimal = options.version === 5;
    socket.on('data', (bytes) => this.#read(bytes));
    socket.on('drain', () => this.#drained());
    socket.on('error', (error) => {
      this.#reason = error.message;
      this.#isHangUp &&= 'code' in error && hangUpCodes.has(error.code);
    });
    socket.once('close', () => this.#closed());
    this.#keepAlive = this.#watch(options.connect.keepAliveSeconds);
    this.#answerTimer = setTimeout(
      () => this.fail(`no CONNACK within ${options.answerTimeoutMs} ms`),
      options.answerTimeoutMs,
    );
    this.write(encodeConnect(options.connect, options.version));
  }

  get version(): LinkVersion {
    return this.#options.version;
  }

  get receiveMaximum(): number {
    return this.#connack?.properties.receiveMaximum ?? 65_535;
  }

  get sessionPresent(): boolean {
    return this.#connack?.sessionPresent === true;
  }

  get isReady(): boolean {
    return this.#output.bytes + this.#socket.writableLength < outputBytesMax;
  }

  publish(
    topic: string,
    payload: Buffer,
    qos: Qos,
    retain: boolean,
    duplicate: boolean,
    packetId: number,
    properties: Buffer,
    expirySeconds: number | undefined,
  ): number {
    const said = this.#connack?.properties;
    const section = this.version === 5 ? publishProperties(properties, expirySeconds) : noBytes;
    const keep = retain && said?.retainAvailable !== 0; // [MQTT-3.2.2-14]
    const header = encodePublishHeader(topic, payload.length, qos, keep, duplicate, packetId, section);
    const bytes = header.length + payload.length;
    if (bytes > (said?.maximumPacketSize ?? Infinity)) return 0; // [MQTT-3.2.2-15]
    this.write(header);
    if (payload.length > 0) this.write(payload);
    return bytes;
  }

  acknowledge(type: 'puback' | 'pubrec' | 'pubcomp', packetId: number): void {
    this.write(encodeAcknowledgement(type, packetId));
  }

  write(packet: Buffer): void {
    this.#output.add(packet);
    if (this.#isFlushScheduled) return;
    this.#isFlushScheduled = true;
    this.#options.schedule(() => this.#flush());
  }

  /** Stops reading, or goes on; what the broker sends waits in the network and then with the broker. */
  hold(isHeld: boolean): void {
    this.#isHeld = isHeld;
    if (isHeld) this.#socket.pause();
    else this.#socket.resume();
  }

  /** Ends the connection because of what the broker did, or did not. */
  fail(reason: string): void {
    this.#isHangUp = false;
    this.#reason = reason;
    this.#socket.destroy();
  }

  /** Says goodbye, so that the last will is not published unless it is wanted, and ends. */
  async end(timeoutMs: number, how: 'normal' | 'with_will'): Promise<void> {
    this.#isHangUp = false;
    if (this.#connack !== undefined) {
      if (how === 'normal') this.write(disconnect);
      else if (this.version === 5) this.write(disconnectWithWill); // 3.1.1 publishes it unless told not to
    }
    this.#flush();
    await new Promise<void>((resolve) => {
      if (this.#socket.destroyed) return resolve();
      this.#socket.once('close', () => resolve());
      setTimeout(() => this.#socket.destroy(), timeoutMs).unref();
      return this.#socket.end();
    });
  }

  #flush(): void {
    this.#isFlushScheduled = false;
    if (this.#output.bytes === 0 || this.#socket.destroyed) return;
    this.#isPaused = !this.#socket.write(this.#output.take());
    // What this turn wrote may alone have stopped the sender, and no drain event follows then.
    if (!this.#isPaused && this.#connack !== undefined) this.#options.handler.drained();
  }

  #drained(): void {
    this.#isPaused = false;
    if (this.#connack !== undefined) this.#options.handler.drained();
  }

  #read(bytes: Buffer): void {
    this.#keepAlive.heard();
    try {
      const fault = this.#frames.push(bytes);
      if (fault !== undefined) this.fail(`${fault.reason}: ${fault.detail}`);
    } catch (error) {
      if (!(error instanceof LinkError)) throw error;
      this.fail(error.message);
    }
  }

  #receive(first: number, data: Buffer, start: number, end: number): boolean | WireFault {
    if (this.#socket.destroyed) return false;
    const type = first >> 4;
    const { handler, version } = this.#options;
    if (this.#connack === undefined) return this.#established(type, data, start, end);
    switch (type) {
      case packetType.puback: {
        // Two bytes mean success, and are what nearly all of them have (MQTT 5 §3.4.2.1).
        if (end - start === 2) return handled(handler.acknowledged(data.readUInt16BE(start), 0, undefined));
        const answer = decodeAcknowledgement(data, start, end, version);
        if ('reason' in answer) return answer;
        const { reasonString } = answer.properties;
        const reason = reasonString?.slice(0, reasonLengthMax);
        return handled(handler.acknowledged(answer.packetId, answer.codes[0] ?? 0, reason));
      }
      case packetType.publish: {
        const packet = decodePublish(first, data, start, end, version);
        return 'reason' in packet ? packet : handled(handler.publish(packet));
      }
      case packetType.pubrel: {
        const answer = decodeAcknowledgement(data, start, end, version);
        return 'reason' in answer ? answer : handled(handler.released(answer.packetId));
      }
      case packetType.suback:
      case packetType.unsuback: {
        const answer = decodeSuback(data, start, end, version);
        if ('reason' in answer) return answer;
        return handled(
          type === packetType.suback ? handler.subscribed(answer) : handler.unsubscribed(answer),
        );
      }
      case packetType.pingresp:
        return true;
      case packetType.disconnect:
        return this.#dismissed(data, start, end);
      default:
        throw new LinkError('mqtt.protocol', `a broker does not send packet type ${type}`);
    }
  }

  #established(type: number, data: Buffer, start: number, end: number): boolean | WireFault {
    if (type !== packetType.connack) {
      throw new LinkError('mqtt.protocol', `packet type ${type} before CONNACK`); // [MQTT-3.2.0-1]
    }
    const connack = decodeConnack(data, start, end);
    if ('reason' in connack) return connack;
    clearTimeout(this.#answerTimer);
    const { serverKeepAlive } = connack.properties;
    if (serverKeepAlive !== undefined && serverKeepAlive > 0) {
      this.#keepAlive.stop();
      this.#keepAlive = this.#watch(serverKeepAlive); // [MQTT-3.2.2-21]
    }
    this.#connack = connack;
    this.#options.handler.connack(connack);
    return true;
  }

  /** [MQTT-3.14.4-1]: the broker says why it ends the connection, and ends it. */
  #dismissed(data: Buffer, start: number, end: number): boolean | WireFault {
    if (this.version !== 5) throw new LinkError('mqtt.protocol', 'a broker of MQTT 3.1.1 says no goodbye');
    const goodbye = decodeGoodbye(data, start, end);
    if ('reason' in goodbye) return goodbye;
    const { reasonString, serverReference } = goodbye.properties;
    const said = [
      `0x${goodbye.code.toString(16)}`,
      reasonString,
      serverReference && `use ${serverReference}`,
    ];
    const text = said.filter((part) => part !== undefined).join(', ');
    this.fail(`the broker disconnected: ${text.slice(0, reasonLengthMax)}`);
    this.#isHangUp = true;
    return false;
  }

  #closed(): void {
    clearTimeout(this.#answerTimer);
    this.#keepAlive.stop();
    this.#options.handler.closed({
      reason: this.#reason,
      wasSilent: this.#connack === undefined,
      isHangUp: this.#isHangUp,
    });
  }

  #watch(keepAliveSeconds: number): KeepAlive {
    return new KeepAlive(keepAliveSeconds, {
      ping: () => this.write(pingreq),
      // While nothing is read its answer may be among that.
      dead: () => (this.#isHeld ? this.write(pingreq) : this.fail('the broker stopped answering')),
    });
  }
}

/** A packet was handled, and reading goes on. */
function handled(_nothing: void): true {
  return true;
}
