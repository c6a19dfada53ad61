/** Real brokers with real certificates on loopback, and clients that are not ours. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { connect as connectMqtt } from 'mqtt';
import type { IClientOptions, MqttClient } from 'mqtt';
import mqttPacket from 'mqtt-packet';
import type { IConnackPacket, IConnectPacket, Packet, PacketCmd } from 'mqtt-packet';
import { brokerConfigType } from '../../broker/config.ts';
import type { BrokerConfig } from '../../broker/config.ts';
import { startBroker } from '../../broker/main.ts';
import type { BrokerSurroundings, RunningBroker } from '../../broker/main.ts';
import { createAuthority } from '../../pki/authority/authority.ts';
import type { Authority } from '../../pki/authority/authority.ts';
import { loadTlsIdentity } from '../../pki/identity.ts';
import type { TlsIdentity } from '../../pki/identity.ts';
import type { ConfigTypes } from '../../runtime/config.ts';
import { createLog } from '../../runtime/log.ts';
import type { Log } from '../../runtime/log.ts';
import { z } from 'zod';

const pathTypes: ConfigTypes = { path: z.string(), existingPath: z.string() };

/** How long a test waits for what never comes, before it says what came instead. */
const patienceMs = 120_000;

export interface LogLine {
  readonly event: string;
  readonly level: string;
  readonly [field: string]: unknown;
}

/** A log that a test reads, and waits for. */
export class Journal {
  readonly lines: LogLine[] = [];
  readonly #waiting = new Set<() => void>();
  readonly log: Log = createLog('broker', 'debug', { write: (line) => this.add(line) });

  /** @param line - JSON, as a program writes it */
  add(line: string): void {
    this.lines.push(JSON.parse(line) as LogLine);
    for (const wake of this.#waiting) wake();
  }

  find(event: string, fields: Readonly<Record<string, unknown>> = {}): LogLine | undefined {
    return this.lines.find(
      (line) => line.event === event && Object.entries(fields).every(([key, value]) => line[key] === value),
    );
  }

  async until(event: string, fields: Readonly<Record<string, unknown>> = {}): Promise<LogLine> {
    for (;;) {
      const found = this.find(event, fields);
      if (found !== undefined) return found;
      await this.next(event);
    }
  }

  /** Resolves with the next line, whatever it says. @param wanted - for whoever waits in vain */
  next(wanted = 'line'): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`no ${wanted} in ${JSON.stringify(this.lines)}`)),
        patienceMs,
      ).unref();
      const wake = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        resolve();
      };
      this.#waiting.add(wake);
    });
  }
}

/** One authority, any number of brokers and clients; `remove` ends them all. */
export class Site {
  readonly directory: string;
  readonly authority: Authority;
  readonly #identities = new Map<string, string>();
  readonly #brokers = new Set<RunningBroker>();
  readonly #clients = new Set<MqttClient>();
  readonly #received = new Map<MqttClient, Received>();
  readonly #sockets = new Set<TLSSocket>();

  constructor(directory: string, authority: Authority) {
    this.directory = directory;
    this.authority = authority;
  }

  /** @returns the key directory of an identity; with `hosts` it is a broker's */
  async identity(commonName: string, hosts?: readonly string[]): Promise<string> {
    const key = `${commonName} ${hosts === undefined ? 'client' : 'broker'}`;
    let directory = this.#identities.get(key);
    if (directory === undefined) {
      directory = path.join(this.directory, 'keys', key.replaceAll(/[/ ]/g, '+'));
      await this.authority.issue({
        path: commonName,
        kinds: ['tls'],
        outputDirectory: directory,
        ...(hosts === undefined ? {} : { hosts }),
      });
      this.#identities.set(key, directory);
    }
    return directory;
  }

  async tls(commonName: string): Promise<TlsIdentity> {
    return loadTlsIdentity(await this.identity(commonName));
  }

  /** PEM, as Node's TLS takes it. */
  async credentials(commonName: string): Promise<{ key: string; cert: string; ca: string }> {
    const { privateKeyPem, chainPem, rootsPem } = await this.tls(commonName);
    return { key: privateKeyPem, cert: chainPem, ca: rootsPem };
  }

  async config(settings: Readonly<Record<string, unknown>> = {}): Promise<BrokerConfig> {
    return parseConfig({
      name: 'test',
      listen: '127.0.0.1:0',
      identity: await this.identity('vendor-broker', ['127.0.0.1']),
      data: path.join(this.directory, 'data'),
      durability: 'os',
      log: { linesPerSecondMax: 1_000_000 }, // a test provokes more than a log should take
      ...settings,
    });
  }

  async start(
    settings: Readonly<Record<string, unknown>> = {},
    surroundings: Partial<BrokerSurroundings> = {},
  ): Promise<{ broker: RunningBroker; journal: Journal }> {
    const journal = new Journal();
    const broker = await startBroker(await this.config(settings), { log: journal.log, ...surroundings });
    this.#brokers.add(broker);
    return { broker, journal };
  }

  async stop(broker: RunningBroker): Promise<void> {
    this.#brokers.delete(broker);
    await broker.stop();
  }

  /** MQTT.js, which does not reconnect unless told to. */
  async connect(
    broker: { readonly port: number },
    commonName: string,
    options: IClientOptions = {},
  ): Promise<MqttClient> {
    const client = connectMqtt({ ...(await this.options(broker, commonName)), ...options });
    this.#clients.add(client);
    // From the first moment on, for a stored session's messages come right after the CONNACK.
    this.#received.set(client, new Received(client));
    await new Promise<void>((resolve, reject) => {
      client.once('connect', () => resolve());
      client.once('error', reject);
      client.once('close', () => reject(new Error('the broker closed the connection')));
    });
    client.on('error', () => undefined);
    return client;
  }

  /** What a client of `connect` has received. */
  received(client: MqttClient): Received {
    const received = this.#received.get(client);
    assert(received, 'not a client of this site');
    return received;
  }

  async options({ port }: { readonly port: number }, commonName: string): Promise<IClientOptions> {
    return {
      ...(await this.credentials(commonName)),
      protocol: 'mqtts',
      host: '127.0.0.1',
      port,
      reconnectPeriod: 0,
      protocolVersion: 4,
    };
  }

  async rawConnect(
    { port }: { readonly port: number },
    commonName: string,
    version: 4 | 5 = 4,
  ): Promise<RawClient> {
    return this.rawConnectWith(port, await this.credentials(commonName), version);
  }

  async rawConnectWith(port: number, options: ConnectionOptions, version: 4 | 5 = 4): Promise<RawClient> {
    const socket = connectTls({ host: '127.0.0.1', port, ...options });
    this.#sockets.add(socket);
    await once(socket, 'secureConnect');
    return new RawClient(socket, version);
  }

  async remove(): Promise<void> {
    await Promise.all([...this.#clients].map((client) => client.endAsync(true)));
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all([...this.#brokers].map((broker) => broker.stop()));
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export function openSite(): Site {
  const directory = mkdtempSync(path.join(tmpdir(), 'plombe-broker-'));
  return new Site(directory, createAuthority({ directory: path.join(directory, 'pki') }));
}

/** Bytes out, packets in: for what a well-behaved client never does. */
export class RawClient<Socket extends Duplex = TLSSocket> {
  readonly socket: Socket;
  readonly version: 4 | 5;
  readonly packets: Packet[] = [];
  /** All that came, for what the parser does not show. */
  bytes = Buffer.alloc(0);
  readonly #waiting = new Set<() => void>();
  readonly closed: Promise<void>;
  isClosed = false;

  constructor(socket: Socket, version: 4 | 5) {
    this.socket = socket;
    this.version = version;
    const parser = mqttPacket.parser({ protocolVersion: version });
    parser.on('packet', (packet) => {
      this.packets.push(packet);
      this.#wake();
    });
    socket.on('data', (bytes) => {
      this.bytes = Buffer.concat([this.bytes, bytes]);
      parser.parse(bytes);
    });
    socket.on('error', () => undefined);
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.isClosed = true;
        resolve();
        this.#wake();
      });
    });
  }

  send(packet: Packet): void {
    this.socket.write(mqttPacket.generate(packet, { protocolVersion: this.version }));
  }

  /** Bytes as they are, in hexadecimal with or without blanks. */
  sendHex(hex: string): void {
    this.socket.write(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
  }

  async open(options: Partial<IConnectPacket> & { readonly clientId: string }): Promise<IConnackPacket> {
    this.send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: this.version,
      clean: true,
      keepalive: 0,
      ...options,
    });
    return this.next('connack');
  }

  /** Takes the first packet of a kind out of what came. Rejects if the connection ends first. */
  async next<C extends PacketCmd>(cmd: C): Promise<Extract<Packet, { cmd: C }>> {
    for (;;) {
      const index = this.packets.findIndex((packet) => packet.cmd === cmd);
      if (index >= 0) return this.packets.splice(index, 1)[0] as Extract<Packet, { cmd: C }>;
      assert(!this.isClosed, `the connection ended before a ${cmd} came`);
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  /** What came until the broker answered a ping: nothing more is on its way because of what was sent before. */
  async settled(): Promise<readonly Packet[]> {
    this.send({ cmd: 'pingreq' });
    await this.next('pingresp');
    return this.packets;
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }
}

/** A count that somebody raises and somebody else waits for. */
export class Progress {
  value = 0;
  readonly #waiting = new Set<() => void>();

  add(count: number): void {
    this.value += count;
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  async until(target: number): Promise<void> {
    while (this.value < target) await new Promise<void>((resolve) => this.#waiting.add(resolve));
  }
}

/** Collects what an MQTT.js client receives, as `topic=payload`, and waits for a number of them. */
export class Received {
  readonly texts: string[] = [];
  readonly #waiting = new Set<() => void>();

  constructor(client: MqttClient) {
    client.on('message', (topic, payload) => {
      this.texts.push(`${topic}=${payload.toString()}`);
      for (const wake of this.#waiting) wake();
      this.#waiting.clear();
    });
  }

  async count(wanted: number): Promise<string[]> {
    while (this.texts.length < wanted) await new Promise<void>((resolve) => this.#waiting.add(resolve));
    return this.texts;
  }
}

function parseConfig(settings: Readonly<Record<string, unknown>>): BrokerConfig {
  return brokerConfigType(pathTypes).parse(settings);
}
