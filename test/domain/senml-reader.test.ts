import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encode } from 'cborg';
import * as fc from 'fast-check';
import { parseDevicePath } from '../../domain/namespace.ts';
import { SenmlReader } from '../../domain/senml-reader.ts';
import { decodeSenmlCbor, encodeSenmlCbor } from '../../domain/senml.ts';
import type { ChannelValue, Snapshot } from '../../domain/snapshot.ts';
import { layOut } from '../../domain/snapshot-layout.ts';

const device = parseDevicePath('ms-acc-1/acc-1/dev-1') ?? assert.fail();
const neighbour = parseDevicePath('ms-acc-1/acc-1/dev-2') ?? assert.fail();
const startMs = 1_760_000_000_123;

const number = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.float({ noNaN: true, noDefaultInfinity: true }),
  fc.maxSafeInteger(),
  fc.constantFrom(-0, 0.5, -2, 65504, 2 ** -24, 2 ** -14, 1 / 3),
);
const columns = fc.array(
  fc.oneof(
    fc.record({ first: number, second: number }),
    fc.record({ first: fc.boolean(), second: fc.boolean() }),
    fc.record({
      first: fc.string({ maxLength: 256 }),
      second: fc.string({ unit: 'grapheme', maxLength: 40 }),
    }),
    fc.record({ first: number, second: fc.string({ maxLength: 4 }) }),
  ),
  { minLength: 1, maxLength: 40 },
);

function snapshotOf(values: readonly ChannelValue[], timeMs: number): Snapshot {
  const readings = values.map((value, index) => {
    const unit = index % 3 === 0 ? {} : { unit: `u${index % 5}` };
    return { channel: `group.channel-${index}`, ...unit, value };
  });
  return { timeMs, deviceType: 'FM', readings };
}

const contentOf = (snapshot: Snapshot, path = device): Buffer => Buffer.from(encodeSenmlCbor(path, snapshot));

/** @returns what it reads, or the code of why not */
function outcomeOf(read: () => unknown): unknown {
  try {
    return read();
  } catch (error) {
    return error instanceof Error && 'code' in error ? error.code : error;
  }
}

test('SenmlReader: reads the second of a shape, by whatever device, as the first', () => {
  fc.assert(
    fc.property(columns, fc.integer({ min: 0, max: 1e11 }), (pairs, laterMs) => {
      const reader = new SenmlReader();
      const first = snapshotOf(
        pairs.map((pair) => pair.first),
        startMs,
      );
      const second = snapshotOf(
        pairs.map((pair) => pair.second),
        startMs + laterMs,
      );
      assert.deepEqual(reader.read(device, contentOf(first)), layOut(first));
      assert.deepEqual(reader.read(neighbour, contentOf(second, neighbour)), layOut(second));
      assert.deepEqual(reader.read(device, contentOf(first)), layOut(first));
    }),
  );
});

test('SenmlReader: one object is the layout of all snapshots of a shape', () => {
  const reader = new SenmlReader();
  const [one, other] = [1, 2].map((value) =>
    reader.read(device, contentOf(snapshotOf([value, 'x'], startMs))),
  );
  assert.equal(one?.layout, other?.layout);
});

test('SenmlReader: whichever bit is flipped, it decides as decodeSenmlCbor', () => {
  const values = [1, 81.5, 1 / 3, true, 'ok', -7, 70_000, 2 ** 40, 'grün'];
  const content = contentOf(snapshotOf(values, startMs));
  for (let at = 0; at < content.length; at++) {
    for (let change = 1; change < 256; change *= 2) {
      const changed = Buffer.from(content);
      changed.writeUInt8(changed.readUInt8(at) ^ change, at);
      const reader = new SenmlReader();
      reader.read(device, content);
      const wanted = outcomeOf(() => layOut(decodeSenmlCbor(device, changed)));
      assert.deepEqual(
        outcomeOf(() => reader.read(device, changed)),
        wanted,
        `octet ${at} ^ ${change}`,
      );
    }
  }
});

test('SenmlReader: cut short anywhere or with more behind, it decides as decodeSenmlCbor', () => {
  const content = contentOf(snapshotOf([1, 81.5, 'ok', true], startMs));
  const reader = new SenmlReader();
  reader.read(device, content);
  for (let end = 0; end < content.length; end++) {
    assert.throws(() => reader.read(device, content.subarray(0, end)), { name: 'SenmlError' });
  }
  assert.throws(() => reader.read(device, Buffer.concat([content, Buffer.of(0)])), {
    code: 'senml.malformed',
  });
});

test('SenmlReader: what another program writes is read too', () => {
  const reader = new SenmlReader();
  const pack = [
    new Map<number, unknown>([
      [-2, `${device}:`],
      [-3, startMs / 1000],
    ]),
    new Map<number, unknown>([
      [2, 1.5],
      [0, 'a'],
    ]),
  ];
  const wanted = layOut({ timeMs: startMs, deviceType: '', readings: [{ channel: 'a', value: 1.5 }] });
  for (let round = 0; round < 2; round++) {
    assert.deepEqual(reader.read(device, Buffer.from(encode(pack, { mapSorter: () => 0 }))), wanted);
  }
});

test('SenmlReader: remembers a bounded number of shapes, and reads on', () => {
  const reader = new SenmlReader();
  for (let round = 0; round < 2; round++) {
    for (let length = 1; length <= 100; length++) {
      const snapshot = snapshotOf(
        Array.from({ length }, (_, index) => index / 8),
        startMs,
      );
      assert.deepEqual(reader.read(device, contentOf(snapshot)), layOut(snapshot));
    }
  }
});
