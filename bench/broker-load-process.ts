/** A load generator on raw sockets, with packets encoded beforehand: one role a process (see broker-load.ts). */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { connect } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import mqttPacket from 'mqtt-packet';
import { endWithParent } from '../scripts/leash.ts';
import type { Load } from './broker-load.ts';
import { medianOf } from './figures.ts';

interface Target {
  readonly keys: string;
  readonly port: number;
}
export type Asked =
  | ({ readonly role: 'publisher'; readonly topicPattern: string; readonly load: Load } & Target)
  | ({ readonly role: 'subscriber'; readonly filter: string; readonly load: Load } & Target)
  | ({ readonly role: 'idle'; readonly connections: number; readonly names: readonly string[] } & Target)
  | ({ readonly role: 'handshakes'; readonly handshakes: number; readonly names: readonly string[] } & Target)
  | ({ readonly role: 'stalled'; readonly filter: string } & Target)
  | ({ readonly role: 'greedy'; readonly name: string; readonly topic: string } & Target)
  | { readonly role: 'received'; readonly received: number }
  | { readonly role: 'start' }
  | { readonly role: 'stop' };
export type Told =
  | { readonly event: 'ready' }
  | { readonly event: 'done' }
  | { readonly event: 'stopped'; readonly sent: number; readonly answerMs: number }
  | { readonly event: 'received'; readonly received: number; readonly disordered: number };

const packetType = { puback: 0x40, pubrec: 0x50, pubrel: 0x62, pubcomp: 0x70 } as const;
/** Packets in one write. */
const batchMax = 64;
const reportMs = 2;
/** How often a publisher that has a rate looks at the time. */
const paceMs = 2;
const greedyPayloadBytes = 200;
const jobs = 4;

let publisher: Publisher | undefined;

endWithParent();
process.on('message', (asked: Asked) => {
  switch (asked.role) {
    case 'publisher':
      publisher = new Publisher(asked.load);
      void publisher.open(asked, asked.topicPattern).then(() => tell({ event: 'ready' }));
      break;
    case 'subscriber':
      void subscribe(asked, asked.filter, asked.load).then(() => tell({ event: 'ready' }));
      break;
    case 'idle':
      void times(asked.connections, (index) => open(asked, nameOf(asked, index), `idle${index}`)).then(() =>
        tell({ event: 'ready' }),
      );
      break;
    case 'handshakes':
      void times(asked.handshakes, (index) => openAndClose(asked, nameOf(asked, index), `hs${index}`)).then(
        () => tell({ event: 'done' }),
      );
      break;
    case 'stalled':
      void stall(asked, asked.filter).then(() => tell({ event: 'ready' }));
      break;
    case 'greedy':
      void flood(asked, asked.name, asked.topic).then(() => tell({ event: 'ready' }));
      break;
    case 'received':
      publisher?.received(asked.received);
      break;
    case 'start':
      publisher?.start();
      break;
    case 'stop':
      tell({ event: 'stopped', ...(publisher?.stop() ?? { sent: 0, answerMs: Number.NaN }) });
      break;
  }
});

/** In turns, if there are fewer certificates than connections. */
function nameOf({ names }: { readonly names: readonly string[] }, index: number): string {
  return names[index % names.length] ?? 'sub';
}

/** One device's connection, with a window of its own. */
interface Source {
  readonly socket: TLSSocket;
  readonly template: Buffer;
  readonly packetIdOffset: number;
  readonly payloadOffset: number;
  readonly index: number;
  packetId: number;
  inFlight: number;
  sequence: number;
  /** When each message left, by its identifier; of loads that have a rate. */
  readonly sentMs: Float64Array;
}

class Publisher {
  readonly #load: Load;
  readonly #sources: Source[] = [];
  #sent = 0;
  #received = 0;
  #isRunning = false;
  #startMs = 0;
  readonly #answerMs: number[] = [];

  constructor(load: Load) {
    this.#load = load;
  }

  async open(target: Target, topicPattern: string): Promise<void> {
    for (let index = 0; index < this.#load.publishers; index++) {
      const name = `pub${index}`;
      const socket = await open(target, name, `load-${name}`);
      const source = {
        socket,
        index,
        packetId: 0,
        inFlight: 0,
        sequence: 0,
        sentMs: new Float64Array(this.#load.perSecond === undefined ? 0 : 65_536),
        ...packetOf(topicPattern.replace('%s', name), this.#load),
      };
      this.#sources.push(source);
      const read = packetReader((first, body) => this.#answered(source, first, body));
      socket.on('data', (chunk) => {
        const answers = read(chunk);
        if (answers !== undefined) socket.write(answers);
        this.#fill();
      });
      socket.on('drain', () => this.#fill());
    }
  }

  start(): void {
    this.#isRunning = true;
    this.#startMs = performance.now();
    if (this.#load.perSecond !== undefined) setInterval(() => this.#fill(), paceMs);
    this.#fill();
  }

  stop(): { sent: number; answerMs: number } {
    this.#isRunning = false;
    return { sent: this.#sent, answerMs: medianOf(this.#answerMs) };
  }

  received(count: number): void {
    this.#received = count;
    this.#fill();
  }

  #fill(): void {
    if (!this.#isRunning) return;
    const { window, publishers, perSecond = Infinity } = this.#load;
    const due = Math.floor(((performance.now() - this.#startMs) / 1000) * perSecond);
    for (const source of this.#sources) {
      for (;;) {
        const credit = 2 * window * publishers - (this.#sent - this.#received);
        const room = this.#load.qos === 0 ? batchMax : window - source.inFlight;
        const count = Math.min(batchMax, room, credit, due - source.sequence);
        if (count <= 0 || source.socket.writableNeedDrain) break;
        this.#send(source, count);
      }
    }
  }

  #send(source: Source, count: number): void {
    const { template, packetIdOffset, payloadOffset } = source;
    const batch = Buffer.allocUnsafe(template.length * count);
    const nowMs = performance.now();
    for (let index = 0; index < count; index++) {
      const start = index * template.length;
      template.copy(batch, start);
      if (this.#load.qos > 0) {
        source.packetId = (source.packetId % 65_535) + 1;
        batch.writeUInt16BE(source.packetId, start + packetIdOffset);
        source.sentMs[source.packetId] = nowMs;
      }
      batch.writeUInt32BE(source.index, start + payloadOffset);
      batch.writeUInt32BE(++source.sequence, start + payloadOffset + 4);
    }
    if (this.#load.qos > 0) source.inFlight += count;
    this.#sent += count;
    source.socket.write(batch);
  }

  #answered(source: Source, first: number, body: Buffer): Buffer | undefined {
    if (first === packetType.pubrec) return acknowledgement(packetType.pubrel, body.readUInt16BE(0));
    if (first !== packetType.puback && first !== packetType.pubcomp) return undefined;
    source.inFlight--;
    const sentMs = source.sentMs[body.readUInt16BE(0)];
    if (sentMs !== undefined) this.#answerMs.push(performance.now() - sentMs);
    return undefined;
  }
}

function packetOf(
  topic: string,
  { qos, payloadBytes }: Pick<Load, 'qos' | 'payloadBytes'>,
): Pick<Source, 'template' | 'packetIdOffset' | 'payloadOffset'> {
  const payload = Buffer.alloc(payloadBytes, 'a');
  const packet = mqttPacket.generate({
    cmd: 'publish',
    topic,
    payload,
    qos,
    retain: false,
    dup: false,
    messageId: 1,
  });
  const payloadOffset = packet.length - payloadBytes;
  return { template: packet, payloadOffset, packetIdOffset: payloadOffset - 2 };
}

async function subscribe(target: Target, filter: string, load: Load): Promise<void> {
  const socket = await open(target, 'sub', 'load-sub', !load.stored);
  let received = 0;
  let disordered = 0;
  let reported = 0;
  const last = new Uint32Array(load.publishers);
  const read = packetReader((first, body) => {
    if (first >> 4 === 3) {
      const qos = (first >> 1) & 3;
      const packetIdOffset = 2 + body.readUInt16BE(0);
      const payloadOffset = packetIdOffset + (qos === 0 ? 0 : 2);
      const source = body.readUInt32BE(payloadOffset);
      const sequence = body.readUInt32BE(payloadOffset + 4);
      if (sequence !== (last[source] ?? 0) + 1) disordered++;
      last[source] = sequence;
      received++;
      if (qos === 0) return undefined;
      return acknowledgement(
        qos === 1 ? packetType.puback : packetType.pubrec,
        body.readUInt16BE(packetIdOffset),
      );
    }
    return first === packetType.pubrel
      ? acknowledgement(packetType.pubcomp, body.readUInt16BE(0))
      : undefined;
  });
  await subscribed(socket, filter, load.qos);
  socket.on('data', (chunk) => {
    const answers = read(chunk);
    if (answers !== undefined) socket.write(answers);
  });
  setInterval(() => {
    if (received === reported) return;
    reported = received;
    tell({ event: 'received', received, disordered });
  }, reportMs);
}

async function stall(target: Target, filter: string): Promise<void> {
  const socket = await open(target, 'sub', 'stalled');
  await subscribed(socket, filter, 1);
  socket.pause();
}

async function flood(target: Target, name: string, topic: string): Promise<void> {
  const socket = await open(target, name, 'greedy');
  const { template: packet } = packetOf(topic, { qos: 0, payloadBytes: greedyPayloadBytes });
  const batch = Buffer.concat(Array<Buffer>(batchMax).fill(packet));
  const fill = (): void => {
    while (!socket.writableNeedDrain) socket.write(batch);
  };
  socket.on('drain', fill);
  fill();
}

async function openAndClose(target: Target, name: string, clientId: string): Promise<void> {
  const socket = await open(target, name, clientId);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.end(mqttPacket.generate({ cmd: 'disconnect' }));
  await closed;
}

/** @returns a connection that has been accepted */
async function open(
  { keys, port }: Target,
  name: string,
  clientId: string,
  clean = true,
): Promise<TLSSocket> {
  const socket = connect({
    host: '127.0.0.1',
    port,
    ca: pem(keys, 'ca.crt'),
    cert: pem(keys, `${name}.crt`),
    key: pem(keys, `${name}.key`),
  });
  socket.setNoDelay(true);
  socket.once('error', fail);
  socket.write(mqttPacket.generate({ cmd: 'connect', clientId, clean, keepalive: 0 }));
  const connack = await nextChunk(socket);
  if (connack[0] !== 0x20 || connack[3] !== 0) fail(new Error(`the broker refused ${clientId}`));
  return socket;
}

async function subscribed(socket: TLSSocket, topic: string, qos: 0 | 1 | 2): Promise<void> {
  socket.write(mqttPacket.generate({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic, qos }] }));
  const suback = await nextChunk(socket);
  if (suback[4] !== qos) fail(new Error('the broker refused the subscription'));
}

function nextChunk(socket: TLSSocket): Promise<Buffer> {
  return new Promise((resolve) => socket.once('data', resolve));
}

/** @returns reads a chunk and gives back what is to be answered to its packets, in one piece */
function packetReader(
  onPacket: (first: number, body: Buffer) => Buffer | undefined,
): (chunk: Buffer) => Buffer | undefined {
  let rest: Buffer | undefined;
  return (chunk) => {
    const data = rest === undefined ? chunk : Buffer.concat([rest, chunk]);
    const answers: Buffer[] = [];
    let offset = 0;
    for (;;) {
      const body = bodyOf(data, offset);
      if (body === undefined) break;
      const answer = onPacket(data.readUInt8(offset), data.subarray(body.start, body.end));
      if (answer !== undefined) answers.push(answer);
      offset = body.end;
    }
    rest = offset === data.length ? undefined : data.subarray(offset);
    return answers.length === 0 ? undefined : Buffer.concat(answers);
  };
}

function bodyOf(data: Buffer, offset: number): { start: number; end: number } | undefined {
  let length = 0;
  for (let index = 1; index <= 4; index++) {
    const byte = data[offset + index];
    if (byte === undefined) return undefined;
    length += (byte & 0x7f) * 128 ** (index - 1);
    if (byte >= 0x80) continue;
    const start = offset + index + 1;
    return start + length > data.length ? undefined : { start, end: start + length };
  }
  return fail(new Error('a packet whose length has more than four bytes'));
}

function acknowledgement(first: number, packetId: number): Buffer {
  return Buffer.from([first, 2, packetId >> 8, packetId & 0xff]);
}

/** @returns once all have been done, a few at a time */
async function times(count: number, work: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: jobs }, async () => {
      while (next < count) await work(next++);
    }),
  );
}

const pems = new Map<string, Buffer>();

function pem(keys: string, file: string): Buffer {
  const full = path.join(keys, file);
  const known = pems.get(full) ?? readFileSync(full);
  pems.set(full, known);
  return known;
}

function tell(told: Told): void {
  process.send?.(told);
}

function fail(error: Error): never {
  console.error(error.message);
  process.exit(1);
}
