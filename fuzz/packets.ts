/**
 * Hostile octets for the broker's packet reader, the first code that a stranger with a certificate reaches. Whatever they
 * are: it does not throw, it ends at the first fault, what it reads does not depend on where the network cut the stream,
 * and what it accepts `mqtt-packet`, which nobody here wrote, reads alike.
 */
import mqttPacket from 'mqtt-packet';
import type { Packet } from 'mqtt-packet';
import { BlockCoverage } from './coverage.ts';
import { Generator } from './generator.ts';
import type { Progress, Subject } from './loop.ts';
import { fuzzLoop } from './loop.ts';
import { packetSeeds } from './packet-seeds.ts';
import type { IncomingPacket } from '../broker/packets/packets.ts';
import type { PacketReader } from '../broker/packets/wire.ts';

export interface PacketFinding {
  readonly why: string;
  readonly input: Buffer;
}

export interface PacketFuzzOptions {
  readonly seed: number;
  /** Asked after every batch. */
  readonly isDone: (progress: Progress) => boolean;
  readonly onFinding?: (finding: PacketFinding) => void;
}

type ReaderClass = typeof PacketReader;

/** What a stream was read as. */
interface Reading {
  readonly packets: readonly IncomingPacket[];
  readonly fault: string | undefined;
}

const packetBytesMax = 4096;
const inputBytesMax = 16 * 1024;
const inputMsMax = 50;
const repetitions = 3;
const changesMax = 4;
/** Where lengths, versions, flags and UTF-8 turn. */
const interesting = [
  0, 1, 2, 3, 4, 5, 0x0f, 0x10, 0x1f, 0x30, 0x62, 0x7f, 0x80, 0x82, 0xa2, 0xc0, 0xe0, 0xed, 0xf0, 0xff,
];

export async function fuzzPackets(options: PacketFuzzOptions): Promise<Progress> {
  const coverage = new BlockCoverage(['broker']);
  coverage.start();
  try {
    // Only now, so that what runs as it loads is counted too.
    const { PacketReader } = await import('../broker/packets/wire.ts');
    return fuzzLoop(new Streams(PacketReader, options.seed), coverage, {
      isDone: options.isDone,
      onFound: ({ trial: input, why }) => options.onFinding?.({ why, input }),
    });
  } finally {
    coverage.stop();
  }
}

/** @returns what is wrong with how an input is read, if anything */
export async function reproducePackets(input: Buffer): Promise<string | undefined> {
  const { PacketReader } = await import('../broker/packets/wire.ts');
  return packetFault(PacketReader, input, new Generator(1));
}

class Streams implements Subject<Buffer> {
  readonly seeds = packetSeeds();
  readonly #reader: ReaderClass;
  readonly #generator: Generator;
  readonly #corpus: Buffer[] = [...this.seeds];

  constructor(reader: ReaderClass, seed: number) {
    this.#reader = reader;
    this.#generator = new Generator(seed);
  }

  get corpusSize(): number {
    return this.#corpus.length;
  }

  next(): Buffer {
    const generator = this.#generator;
    const recent = this.#corpus.slice(-32);
    const parent = generator.pick(generator.chance(0.3) ? recent : this.#corpus);
    return changed(parent, this.seeds, generator);
  }

  faultOf(input: Buffer): string | undefined {
    return packetFault(this.#reader, input, this.#generator);
  }

  repeat(input: Buffer): void {
    packetFault(this.#reader, input, this.#generator);
  }

  keep(input: Buffer): void {
    this.#corpus.push(input);
  }
}

/** @returns what is wrong with how a reader reads an input, if anything */
export function packetFault(reader: ReaderClass, input: Buffer, generator: Generator): string | undefined {
  try {
    const whole = read(reader, [input]);
    const cut = read(reader, pieces(input, generator));
    if (JSON.stringify(whole) !== JSON.stringify(cut)) return 'read otherwise when it came in pieces';
    return disagreement(whole.packets, input) ?? slowness(reader, input);
  } catch (error) {
    return `threw ${String(error)}`;
  }
}

/** Slow counts if it is so every time. */
function slowness(reader: ReaderClass, input: Buffer): string | undefined {
  for (let attempt = 0; attempt < repetitions; attempt++) {
    const start = performance.now();
    read(reader, [input]);
    if (performance.now() - start <= inputMsMax) return undefined;
  }
  return `took more than ${inputMsMax} ms`;
}

function read(reader: ReaderClass, chunks: readonly Buffer[]): Reading {
  const packets: IncomingPacket[] = [];
  const stream = new reader(packetBytesMax, (packet) => {
    packets.push(packet);
    return packet.type !== 'disconnect';
  });
  for (const chunk of chunks) {
    const fault = stream.push(chunk);
    if (fault !== undefined) return { packets, fault: `${fault.reason}: ${fault.detail}` };
    if (packets.at(-1)?.type === 'disconnect') break;
  }
  return { packets, fault: undefined };
}

function pieces(input: Buffer, generator: Generator): Buffer[] {
  const chunks: Buffer[] = [];
  const bytesMax = generator.pick([1, 3, 40]);
  for (let offset = 0; offset < input.length;) {
    const end = offset + 1 + generator.below(bytesMax);
    chunks.push(input.subarray(offset, end));
    offset = end;
  }
  return chunks;
}

/** Of what both accept: the same packets, the same topics, payloads and identifiers. */
function disagreement(ours: readonly IncomingPacket[], input: Buffer): string | undefined {
  const theirs: Packet[] = [];
  const parser = mqttPacket.parser();
  let isRefused = false;
  parser.on('packet', (packet) => theirs.push(packet));
  parser.on('error', () => (isRefused = true));
  try {
    parser.parse(input);
  } catch {
    isRefused = true;
  }
  for (const [index, packet] of ours.entries()) {
    const other = theirs[index];
    if (other === undefined) return isRefused ? undefined : `mqtt-packet found no packet ${index}`;
    // [MQTT-3.1.0-2]: a connection ends with a second CONNECT. mqtt-packet reads on, in the version that this one names.
    if (index > 0 && packet.type === 'connect') return undefined;
    if (summary(packet) !== otherSummary(other)) {
      return `${summary(packet)}, and mqtt-packet reads ${otherSummary(other)}`;
    }
  }
  return undefined;
}

function summary(packet: IncomingPacket): string {
  switch (packet.type) {
    case 'publish':
      return `publish ${packet.topic} ${packet.qos} ${packet.packetId} ${packet.payload.toString('hex')}`;
    case 'subscribe':
      return `subscribe ${packet.packetId} ${packet.subscriptions.map(({ filter, qos }) => `${filter} ${qos}`).join()}`;
    case 'unsubscribe':
      return `unsubscribe ${packet.packetId} ${packet.filters.join()}`;
    case 'connect':
      return `connect ${packet.clientId} ${packet.keepAliveSeconds} ${packet.will?.topic ?? ''}`;
    case 'puback':
    case 'pubrec':
    case 'pubrel':
    case 'pubcomp':
      return `${packet.type} ${packet.packetId}`;
    default:
      return packet.type;
  }
}

function otherSummary(packet: Packet): string {
  switch (packet.cmd) {
    case 'publish': {
      const { topic, qos, messageId = 0, payload } = packet;
      return `publish ${topic} ${qos} ${messageId} ${Buffer.from(payload).toString('hex')}`;
    }
    case 'subscribe': {
      const filters = packet.subscriptions.map(({ topic, qos }) => `${topic} ${qos}`);
      return `subscribe ${packet.messageId ?? 0} ${filters.join()}`;
    }
    case 'unsubscribe':
      return `unsubscribe ${packet.messageId ?? 0} ${packet.unsubscriptions.join()}`;
    case 'connect':
      return `connect ${packet.clientId} ${packet.keepalive ?? 0} ${packet.will?.topic ?? ''}`;
    case 'puback':
    case 'pubrec':
    case 'pubrel':
    case 'pubcomp':
      return `${packet.cmd} ${packet.messageId ?? 0}`;
    default:
      return packet.cmd;
  }
}

/** A few changes; half of the time the lengths of whole packets are made right again, so that what is inside is reached. */
function changed(parent: Buffer, donors: readonly Buffer[], generator: Generator): Buffer {
  let octets = Buffer.from(parent);
  const changes = 1 + generator.below(changesMax);
  for (let count = 0; count < changes; count++) octets = changedOnce(octets, donors, generator);
  const bounded = octets.subarray(0, inputBytesMax);
  const grown = bounded.length - parent.length;
  return grown !== 0 && generator.chance(0.5) ? lengthened(bounded, parent, grown, generator) : bounded;
}

function changedOnce(octets: Buffer, donors: readonly Buffer[], generator: Generator): Buffer<ArrayBuffer> {
  const at = generator.below(octets.length + 1);
  const length = 1 + generator.below(generator.chance(0.8) ? 4 : 64);
  const copy = Buffer.from(octets);
  switch (generator.below(6)) {
    case 0:
      if (at < copy.length) copy.writeUInt8(copy.readUInt8(at) ^ (1 << generator.below(8)), at);
      return copy;
    case 1:
      if (at < copy.length) copy.writeUInt8(generator.pick(interesting), at);
      return copy;
    case 2:
      return Buffer.concat([octets.subarray(0, at), generator.octets(length), octets.subarray(at)]);
    case 3:
      return Buffer.concat([octets.subarray(0, at), octets.subarray(at + length)]);
    case 4:
      return Buffer.concat([octets.subarray(0, at), octets.subarray(Math.max(0, at - length))]);
    default: {
      const donor = generator.pick(donors);
      const from = generator.below(donor.length);
      return Buffer.concat([
        octets.subarray(0, at),
        donor.subarray(from, from + length * 8),
        octets.subarray(at),
      ]);
    }
  }
}

/** Adds to the remaining length of one packet, of those whose length is one octet, what the whole has grown by. */
function lengthened(octets: Buffer, parent: Buffer, grown: number, generator: Generator): Buffer {
  const starts: number[] = [];
  for (let offset = 0; offset + 1 < parent.length;) {
    const length = parent.readUInt8(offset + 1);
    if (length >= 0x80) break;
    starts.push(offset);
    offset += 2 + length;
  }
  if (starts.length === 0) return octets;
  const lengthOffset = generator.pick(starts) + 1;
  const length = (octets[lengthOffset] ?? 0x80) + grown;
  const copy = Buffer.from(octets);
  if (length >= 0 && length < 0x80 && lengthOffset < copy.length) copy.writeUInt8(length, lengthOffset);
  return copy;
}
