/** The other end of a link under test: a real TLS server that says what the test tells it to say. */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createServer } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import mqttPacket from 'mqtt-packet';
import type { IConnackPacket, Packet } from 'mqtt-packet';
import { createAuthority } from '../../pki/authority/authority.ts';
import type { TlsIdentity } from '../../pki/identity.ts';
import { loadTlsIdentity } from '../../pki/identity.ts';

export interface TestIdentities {
  readonly broker: TlsIdentity;
  readonly device: TlsIdentity;
  remove(): void;
}

export async function makeIdentities(): Promise<TestIdentities> {
  const directory = mkdtempSync(path.join(tmpdir(), 'plombe-link-'));
  const authority = createAuthority({ directory: path.join(directory, 'pki') });
  const issue = async (name: string, hosts: readonly string[]): Promise<TlsIdentity> => {
    const outputDirectory = path.join(directory, name);
    await authority.issue({
      path: name,
      kinds: ['tls'],
      outputDirectory,
      ...(hosts.length > 0 ? { hosts } : {}),
    });
    return loadTlsIdentity(outputDirectory);
  };
  return {
    broker: await issue('vendor-broker', ['localhost']),
    device: await issue('ms-acc-1/acc-1/dev-1', []),
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** One accepted connection: packets come out in order, and whatever the test sends goes in. */
export class Conversation {
  readonly #socket: TLSSocket;
  readonly #received: Packet[] = [];
  /** Of the CONNECT that came. */
  version = 4;
  #wake: () => void = () => undefined;

  constructor(socket: TLSSocket) {
    this.#socket = socket;
    const parser = mqttPacket.parser({ protocolVersion: 4 });
    parser.on('packet', (packet) => {
      if (packet.cmd === 'connect') this.version = packet.protocolVersion ?? 4;
      this.#received.push({ ...packet });
      this.#wake();
    });
    socket.on('data', (bytes) => parser.parse(bytes));
    socket.on('error', () => undefined); // a test that cuts the connection means it
    socket.on('close', () => this.#wake());
  }

  /** @returns the next packet, which must be a `command` */
  async next<C extends Packet['cmd']>(command: C): Promise<Extract<Packet, { cmd: C }>> {
    const packet = await this.any();
    if (packet === undefined) throw new Error(`the link closed where ${command} was expected`);
    if (packet.cmd !== command) throw new Error(`wanted ${command}, got ${packet.cmd}`);
    return packet as Extract<Packet, { cmd: C }>;
  }

  /** @returns the next packet, or undefined once the connection is closed */
  async any(): Promise<Packet | undefined> {
    while (this.#received.length === 0) {
      if (this.#socket.destroyed) return undefined;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return this.#received.shift();
  }

  /** How many packets came and were not asked for. */
  get waiting(): number {
    return this.#received.length;
  }

  send(packet: Packet): void {
    this.#socket.write(mqttPacket.generate(packet, { protocolVersion: this.version }));
  }

  sendBytes(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  cut(): void {
    this.#socket.destroy();
  }

  async closed(): Promise<void> {
    // Bytes that the link never read end the connection with an error, which `once` of the events module would throw.
    await new Promise<void>((resolve) =>
      this.#socket.closed ? resolve() : this.#socket.once('close', resolve),
    );
  }
}

export class ScriptedBroker {
  readonly #server: ReturnType<typeof createServer>;
  readonly #conversations: Conversation[] = [];
  readonly #sockets = new Set<TLSSocket>();
  #wake: () => void = () => undefined;

  private constructor(identity: TlsIdentity) {
    this.#server = createServer(
      {
        key: identity.privateKeyPem,
        cert: identity.chainPem,
        ca: identity.rootsPem,
        requestCert: true,
        rejectUnauthorized: true,
      },
      (socket) => {
        this.#sockets.add(socket);
        this.#conversations.push(new Conversation(socket));
        this.#wake();
      },
    );
  }

  static async start(identity: TlsIdentity): Promise<ScriptedBroker> {
    const broker = new ScriptedBroker(identity);
    broker.#server.listen(0, '127.0.0.1');
    await once(broker.#server, 'listening');
    return broker;
  }

  get endpoint(): { host: string; port: number } {
    return { host: '127.0.0.1', port: (this.#server.address() as AddressInfo).port };
  }

  async accept(): Promise<Conversation> {
    while (this.#conversations.length === 0) await new Promise<void>((resolve) => (this.#wake = resolve));
    const conversation = this.#conversations.shift();
    if (!conversation) throw new Error('no connection');
    return conversation;
  }

  /** Accepts a connection and answers its CONNECT. */
  async welcome(
    sessionPresent = false,
    properties: NonNullable<IConnackPacket['properties']> = {},
  ): Promise<Conversation> {
    const conversation = await this.accept();
    await conversation.next('connect');
    conversation.send({ cmd: 'connack', returnCode: 0, reasonCode: 0, sessionPresent, properties });
    return conversation;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
