import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { after, test } from 'node:test';
import * as fc from 'fast-check';
import type { TransportEvents } from '../../../broker/connection/transport.ts';
import type { Channel } from '../../../broker/nodes/channel.ts';
import { windowBytes } from '../../../broker/nodes/channel.ts';
import type { ChannelPurpose } from '../../../broker/nodes/frames.ts';
import {
  FrameReader,
  decodePurpose,
  encodePurpose,
  frameHeader,
  frameType,
  openBytesMax,
} from '../../../broker/nodes/frames.ts';
import { Link } from '../../../broker/nodes/link.ts';
import { relay } from '../../../broker/nodes/relay.ts';
import { Journal } from '../fixture.ts';

const server = createServer().listen(0, '127.0.0.1');
await once(server, 'listening');
const sockets: Socket[] = [];
after(() => {
  for (const socket of sockets) socket.destroy();
  server.close();
});

async function socketPair(): Promise<[Socket, Socket]> {
  const accepted = once(server, 'connection');
  const near = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [far] = (await accepted) as [Socket];
  sockets.push(near, far);
  return [near, far];
}

interface Ends {
  readonly near: Link;
  readonly far: Link;
  readonly journal: Journal;
  readonly wire: Socket;
  readonly opened: (
    purpose?: ChannelPurpose,
  ) => Promise<{ ours: Channel; theirs: Channel; purpose: ChannelPurpose }>;
}

async function linkPair(): Promise<Ends> {
  const [nearSocket, farSocket] = await socketPair();
  const journal = new Journal();
  const arrived: { channel: Channel; purpose: ChannelPurpose }[] = [];
  let wake = (): void => undefined;
  const near = new Link(nearSocket, { log: journal.log, onClosed: () => undefined });
  const far = new Link(farSocket, {
    log: journal.log,
    onClosed: () => undefined,
    onChannel: (channel, purpose) => {
      arrived.push({ channel, purpose });
      wake();
    },
  });
  return {
    near,
    far,
    journal,
    wire: nearSocket,
    opened: async (purpose = { kind: 'snapshot' }) => {
      const ours = near.open(purpose);
      while (arrived.length === 0) await new Promise<void>((resolve) => (wake = resolve));
      const [first] = arrived.splice(0, 1);
      assert(first);
      return { ours, theirs: first.channel, purpose: first.purpose };
    },
  };
}

/** What came out of a channel, and waits for it. */
class Heard implements TransportEvents {
  bytes = Buffer.alloc(0);
  isClosed = false;
  drains = 0;
  readonly #waiting = new Set<() => void>();
  onBytes = (chunk: Buffer): void => {
    this.bytes = Buffer.concat([this.bytes, chunk]);
    this.#wake();
  };
  onDrain = (): void => {
    this.drains++;
    this.#wake();
  };
  onFault = (): void => undefined;
  onError = (): void => undefined;
  onClose = (): void => {
    this.isClosed = true;
    this.#wake();
  };

  async until(isReached: () => boolean): Promise<void> {
    while (!isReached()) await new Promise<void>((resolve) => this.#waiting.add(resolve));
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }
}

function heardOn(channel: Channel): Heard {
  const heard = new Heard();
  channel.start(heard);
  return heard;
}

test('Link: a client channel brings its certificates, and bytes both ways', async () => {
  const { opened } = await linkPair();
  const chain = [Buffer.from('leaf'), Buffer.from('authority')];
  const address = 'fe80::1%enp0s31f6';
  const { ours, theirs, purpose } = await opened({ kind: 'client', address, chain });
  assert.deepEqual(purpose, { kind: 'client', address, chain });
  assert.deepEqual([ours.remoteAddress, theirs.remoteAddress], [address, address]);
  const [here, there] = [heardOn(ours), heardOn(theirs)];
  ours.write(Buffer.from('question'));
  await there.until(() => there.bytes.length === 8);
  theirs.write(Buffer.from('answer'));
  await here.until(() => here.bytes.length === 6);
  assert.deepEqual([here.bytes.toString(), there.bytes.toString()], ['answer', 'question']);
});

test('Link: who does not read holds up its own channel alone, at one window', async () => {
  const { opened } = await linkPair();
  const stalled = await opened();
  const lively = await opened();
  const there = heardOn(stalled.theirs);
  const livelyThere = heardOn(lively.theirs);
  const here = heardOn(stalled.ours);
  stalled.theirs.pause();
  const much = Buffer.alloc(3 * windowBytes, 'x');
  assert.equal(stalled.ours.write(much), false);
  lively.ours.write(Buffer.from('passes'));
  await livelyThere.until(() => livelyThere.bytes.length === 6);
  assert.equal(there.bytes.length, 0);
  assert.equal(stalled.ours.pendingBytes, much.length);
  stalled.theirs.resume();
  await there.until(() => there.bytes.length === much.length);
  await here.until(() => here.drains === 1);
  assert.equal(stalled.ours.pendingBytes, 0);
});

test('Channel.finish: what was written before arrives before the end, however slow the other side is', async () => {
  const { opened } = await linkPair();
  const { ours, theirs } = await opened();
  const there = heardOn(theirs);
  theirs.pause();
  const much = Buffer.alloc(2 * windowBytes, 'y');
  ours.write(much);
  ours.finish();
  assert.equal(there.isClosed, false);
  theirs.resume();
  await there.until(() => there.isClosed);
  assert.equal(there.bytes.length, much.length);
});

test('Channel.end: the other side may go on writing until it ends too', async () => {
  const { opened } = await linkPair();
  const { ours, theirs } = await opened();
  const here = heardOn(ours);
  heardOn(theirs);
  const ended = new Promise<void>((resolve) => theirs.whenEnded(resolve));
  ours.write(Buffer.from('last'));
  ours.end();
  await ended;
  theirs.write(Buffer.from('still'));
  theirs.destroy();
  await here.until(() => here.isClosed);
  assert.equal(here.bytes.toString(), 'still');
});

test('Link: when the connection is gone, every channel closes on both sides', async () => {
  const { opened, wire, near, far } = await linkPair();
  const { ours, theirs } = await opened();
  const [here, there] = [heardOn(ours), heardOn(theirs)];
  wire.destroy();
  await here.until(() => here.isClosed);
  await there.until(() => there.isClosed);
  assert.deepEqual([near.channels, far.channels, near.isClosed, far.isClosed], [0, 0, true, true]);
});

test('Link: frames that no node of ours sends close it', async () => {
  for (const frame of [
    Buffer.from([99, 0, 0, 0, 1, 0, 0, 0, 0]),
    frameHeader(frameType.open, 1, openBytesMax + 1),
    Buffer.concat([frameHeader(frameType.open, 1, 1), Buffer.from([7])]),
    Buffer.concat([frameHeader(frameType.credit, 1, 1), Buffer.from([7])]),
  ]) {
    const { wire, journal } = await linkPair();
    wire.write(frame);
    assert.equal((await journal.until('node.link_failed'))['reason'], 'link_fault');
  }
});

test('Link: more than a window that nobody has taken closes it', async () => {
  const { opened, wire, journal } = await linkPair();
  const { ours } = await opened();
  const chunk = Buffer.alloc(windowBytes + 1);
  wire.write(Buffer.concat([frameHeader(frameType.data, ours.id, chunk.length), chunk]));
  assert.equal((await journal.until('node.link_failed'))['detail'], 'more than its window');
});

test('relay: a goodbye that a client sent right before it closed arrives', async () => {
  const { opened } = await linkPair();
  const outer = await linkPair();
  const { ours, theirs } = await opened();
  const client = await outer.opened();
  relay(client.theirs, ours);
  const there = heardOn(theirs);
  const here = heardOn(client.ours);
  theirs.write(Buffer.from('welcome'));
  await here.until(() => here.bytes.length === 7);
  client.ours.write(Buffer.from('goodbye'));
  client.ours.finish();
  await there.until(() => there.isClosed);
  assert.equal(there.bytes.toString(), 'goodbye');
});

test('FrameReader: however the bytes are cut, the same frames come out', () => {
  const frame = fc.oneof(
    fc.record({ channel: fc.nat(5), data: fc.uint8Array({ maxLength: 40 }) }),
    fc.record({ channel: fc.nat(5), credit: fc.nat(1000) }),
  );
  fc.assert(
    fc.property(
      fc.array(frame, { maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 30 })),
      (frames, cuts) => {
        const expected: string[] = [];
        const wire = Buffer.concat(
          frames.flatMap((one) => {
            if ('data' in one) {
              if (one.data.length > 0)
                expected.push(`${one.channel}:${Buffer.from(one.data).toString('hex')}`);
              return [frameHeader(frameType.data, one.channel, one.data.length), Buffer.from(one.data)];
            }
            const payload = Buffer.alloc(4);
            payload.writeUInt32BE(one.credit);
            expected.push(`${one.channel}+${one.credit}`);
            return [frameHeader(frameType.credit, one.channel, 4), payload];
          }),
        );
        const got: string[] = [];
        // Data comes in parts: those of one frame belong together.
        let open: { channel: number; hex: string; left: number } | undefined;
        const sizes = frames.flatMap((one) =>
          'data' in one && one.data.length > 0 ? [one.data.length] : [],
        );
        const reader = new FrameReader({
          onData: (channel, bytes) => {
            open ??= { channel, hex: '', left: sizes.shift() ?? 0 };
            open.hex += bytes.toString('hex');
            open.left -= bytes.length;
            if (open.left > 0) return;
            got.push(`${open.channel}:${open.hex}`);
            open = undefined;
          },
          onFrame: (_type, channel, payload) => got.push(`${channel}+${payload.readUInt32BE()}`),
        });
        let at = 0;
        for (const cut of [...cuts, wire.length]) {
          assert.equal(reader.push(wire.subarray(at, at + cut)), undefined);
          at += cut;
        }
        assert.deepEqual(got, expected);
      },
    ),
  );
});

test('decodePurpose: what encodePurpose made comes back, and nothing cut short does', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 20 }), { minLength: 1, maxLength: 4 }), (ders) => {
      const purpose = {
        kind: 'client' as const,
        address: '192.0.2.1',
        chain: ders.map((der) => Buffer.from(der)),
      };
      const encoded = encodePurpose(purpose);
      assert.deepEqual(decodePurpose(encoded), purpose);
      const whole = decodePurpose(encoded.subarray(0, -1));
      assert(whole === undefined || (whole.kind === 'client' && whole.chain.length < purpose.chain.length));
    }),
  );
  assert.deepEqual(decodePurpose(encodePurpose({ kind: 'snapshot' })), { kind: 'snapshot' });
  assert.equal(decodePurpose(Buffer.from([1])), undefined);
  const address = 'x'.repeat(65);
  assert.equal(
    encodePurpose({ kind: 'client', address, chain: [] }).length,
    1 + 4 + 64,
    'it is cut to its bound',
  );
});
