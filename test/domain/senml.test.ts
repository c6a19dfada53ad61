import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encode } from 'cborg';
import * as fc from 'fast-check';
import { parseDevicePath } from '../../domain/namespace.ts';
import { decodeSenmlCbor, decodeSenmlJson, encodeSenmlCbor } from '../../domain/senml.ts';
import type { Snapshot } from '../../domain/snapshot.ts';
import { channelGroup, isChannelName } from '../../domain/snapshot.ts';

const device = parseDevicePath('ms-acc-1/acc-1/dev-1') ?? assert.fail();
const timeMs = 1_760_000_000_123;
const time = timeMs / 1000;

const channel = fc
  .tuple(
    fc.constantFrom('a', 'Z', '0'),
    fc.string({ unit: fc.constantFrom('b', '7', '-', '.', '_', '/'), maxLength: 63 }),
  )
  .map(([first, rest]) => first + rest)
  .filter((name) => name !== 'device.type');
const value = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.integer(),
  fc.boolean(),
  fc.string({ maxLength: 256 }),
);
const reading = fc.record(
  { channel, unit: fc.string({ minLength: 1, maxLength: 32 }), value },
  { requiredKeys: ['channel', 'value'], noNullPrototype: true },
);
const snapshot: fc.Arbitrary<Snapshot> = fc.record(
  {
    timeMs: fc.integer({ min: 2 ** 28 * 1000, max: 253_402_300_799_000 }),
    deviceType: fc.string({ maxLength: 64 }),
    readings: fc.uniqueArray(reading, { minLength: 1, maxLength: 30, selector: (one) => one.channel }),
  },
  { noNullPrototype: true },
);
const sound: Snapshot = {
  timeMs,
  deviceType: 'FM',
  readings: [{ channel: 'fuel.flow', unit: 'l/s', value: 0.05 }],
};

const ofJson = (pack: unknown): Snapshot => decodeSenmlJson(device, JSON.stringify(pack));
const withCode = (code: string) => ({ name: 'SenmlError', code });

test('encodeSenmlCbor: a known answer', () => {
  // [{-2: "ms-acc-1/acc-1/dev-1:", -3: 1760000000.123, 0: "device.type", 3: "FM"}, {0: "fuel.flow", 1: "l/s", 2: 0.05}]
  // with RFC 8428 §6 labels, keys in the order of RFC 8949 §4.2.1.
  assert.equal(
    Buffer.from(encodeSenmlCbor(device, sound)).toString('hex'),
    [
      '82',
      'a4 00 6b6465766963652e74797065 03 62464d 21 756d732d6163632d312f6163632d312f6465762d313a 22 fb41da39de0007df3b',
      'a3 00 696675656c2e666c6f77 01 636c2f73 02 fb3fa999999999999a',
    ]
      .join('')
      .replaceAll(' ', ''),
  );
});

test('decodeSenmlCbor: reads what encodeSenmlCbor wrote, to the last bit', () => {
  fc.assert(
    fc.property(snapshot, (one) => {
      const decoded = decodeSenmlCbor(device, encodeSenmlCbor(device, one));
      assert.deepEqual(decoded, one);
      for (const [index, { value: sent }] of one.readings.entries()) {
        assert.ok(Object.is(decoded.readings[index]?.value, sent));
      }
    }),
  );
});

test('decodeSenmlJson: the examples of RFC 8428 §5.1 that have one moment', () => {
  assert.deepEqual(ofJson([{ n: 'urn-dev', u: 'Cel', v: 23.1, t: 1.320067464e9 }]).readings, [
    { channel: 'urn-dev', unit: 'Cel', value: 23.1 },
  ]);
  const pack = [
    { bn: `${device}:`, bt: 1.276020076001e9, bu: 'A', bver: 5, n: 'voltage', u: 'V', v: 120.1 },
    { n: 'current', v: 1.2 },
    { n: 'state', u: '', vs: 'on' },
    { n: 'ok', vb: true },
  ];
  assert.deepEqual(ofJson(pack), {
    timeMs: 1_276_020_076_001,
    deviceType: '',
    readings: [
      { channel: 'voltage', unit: 'V', value: 120.1 },
      { channel: 'current', unit: 'A', value: 1.2 },
      { channel: 'state', value: 'on' },
      { channel: 'ok', unit: 'A', value: true },
    ],
  });
});

test('decodeSenmlJson: bytes and text are the same', () => {
  const text = JSON.stringify([{ n: 'grad-°'.slice(0, 4), v: 1, t: time }]);
  assert.deepEqual(decodeSenmlJson(device, Buffer.from(text)), decodeSenmlJson(device, text));
});

test('decodeSenmlCbor: unknown fields are passed over, unknown mandatory ones are not (RFC 8428 §4.4)', () => {
  const record = (key: string) =>
    encode([
      new Map<unknown, unknown>([
        [0, 'a'],
        [2, 1],
        [6, time],
        [key, 1],
      ]),
    ]);
  assert.equal(decodeSenmlCbor(device, record('future')).readings.length, 1);
  assert.throws(() => decodeSenmlCbor(device, record('future_')), withCode('senml.unsupported'));
});

for (const [code, what, pack] of [
  ['senml.malformed', 'an object', {}],
  ['senml.malformed', 'a list of numbers', [1]],
  ['senml.malformed', 'a list of lists', [[]]],
  ['senml.malformed', 'a record without a name', [{ v: 1, t: time }]],
  ['senml.malformed', 'a name with a blank', [{ n: 'a b', v: 1, t: time }]],
  ['senml.malformed', 'two values in a record', [{ n: 'a', v: 1, vb: true, t: time }]],
  ['senml.malformed', 'a value that is text', [{ n: 'a', v: '1', t: time }]],
  ['senml.malformed', 'a text that is a number', [{ n: 'a', vs: 1, t: time }]],
  ['senml.malformed', 'a truth that is a number', [{ n: 'a', vb: 1, t: time }]],
  ['senml.malformed', 'a value that is null', [{ n: 'a', v: null, t: time }]],
  [
    'senml.malformed',
    'a channel twice',
    [
      { n: 'a', v: 1, t: time },
      { n: 'a', v: 2, t: time },
    ],
  ],
  ['senml.unsupported', 'a version of the future', [{ bver: 11, n: 'a', v: 1, t: time }]],
  [
    'senml.unsupported',
    'two moments',
    [
      { n: 'a', v: 1, t: time },
      { n: 'b', v: 1, t: time + 1 },
    ],
  ],
  ['senml.unsupported', 'a time relative to now', [{ n: 'a', v: 1, t: -5 }]],
  ['senml.unsupported', 'no time', [{ n: 'a', v: 1 }]],
  ['senml.unsupported', 'data', [{ n: 'a', vd: 'AA', t: time }]],
  ['senml.unsupported', 'a sum', [{ n: 'a', s: 1, t: time }]],
  ['senml.unsupported', 'a base value', [{ bv: 1, n: 'a', v: 1, t: time }]],
  ['senml.limit', 'a text that is too long', [{ n: 'a', vs: 'x'.repeat(257), t: time }]],
  ['senml.limit', 'a unit that is too long', [{ n: 'a', u: 'x'.repeat(33), v: 1, t: time }]],
  ['senml.limit', 'a name that is much too long', [{ n: 'a'.repeat(200), v: 1, t: time }]],
  ['senml.malformed', 'a name that is too long', [{ n: 'a'.repeat(65), v: 1, t: time }]],
  ['senml.limit', 'too many records', Array.from({ length: 10_002 }, () => ({}))],
  ['senml.foreign', 'the name of another device', [{ bn: 'ms-acc-2/acc-1/dev-1:', n: 'a', v: 1, t: time }]],
  ['senml.foreign', 'a name with a colon', [{ n: 'a:b', v: 1, t: time }]],
  ['senml.no_values', 'an empty pack', []],
  ['senml.no_values', 'base values alone', [{ bn: `${device}:`, bt: time }]],
] as const) {
  test(`decodeSenmlJson: refuses ${what} as ${code}`, () => {
    assert.throws(() => ofJson(pack), withCode(code));
  });
}

test('decodeSenmlJson: refuses what is no JSON, no UTF-8, too large, or infinite', () => {
  assert.throws(() => decodeSenmlJson(device, '[{'), withCode('senml.malformed'));
  assert.throws(() => decodeSenmlJson(device, Buffer.of(0x5b, 0xff, 0x5d)), withCode('senml.malformed'));
  assert.throws(() => decodeSenmlJson(device, ' '.repeat(4 * 1024 * 1024 + 1)), withCode('senml.limit'));
  assert.throws(
    () => decodeSenmlJson(device, `[{"n":"a","v":1e999,"t":${time}}]`),
    withCode('senml.not_finite'),
  );
});

test('decodeSenmlCbor: NaN and infinities are refused by name, bignums and repeated keys as malformed', () => {
  const pack = (...fields: readonly (readonly [unknown, unknown])[]) =>
    encode([new Map<unknown, unknown>([[0, 'a'], [6, time], ...fields])]);
  for (const number of [Number.NaN, Infinity, -Infinity]) {
    assert.throws(() => decodeSenmlCbor(device, pack([2, number])), withCode('senml.not_finite'));
  }
  assert.throws(() => decodeSenmlCbor(device, pack([2, 2n ** 63n])), withCode('senml.malformed'));
  // {0: "a", 6: 2^30, 2: 1, 2: 2}
  const repeated = Buffer.from('81a400616106 1a40000000 0201 0202'.replaceAll(' ', ''), 'hex');
  assert.throws(() => decodeSenmlCbor(device, repeated), withCode('senml.malformed'));
  // The label of a name and the name itself are one field.
  assert.throws(() => decodeSenmlCbor(device, pack([2, 1], ['v', 2])), withCode('senml.malformed'));
});

test('decodeSenmlCbor: every cut is refused, every flipped bit is read or refused', () => {
  const bytes = encodeSenmlCbor(device, sound);
  for (let cut = 0; cut < bytes.length; cut++) {
    assert.throws(() => decodeSenmlCbor(device, bytes.subarray(0, cut)), withCode('senml.malformed'));
  }
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = Buffer.from(bytes);
    flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
    try {
      decodeSenmlCbor(device, flipped);
    } catch (error) {
      assert.equal(error instanceof Error && error.name, 'SenmlError', `bit ${bit}: ${String(error)}`);
    }
  }
});

for (const [code, what, changed] of [
  ['senml.no_values', 'no readings', { readings: [] }],
  [
    'senml.limit',
    'too many readings',
    { readings: Array.from({ length: 10_001 }, () => ({ channel: 'a', value: 1 })) },
  ],
  [
    'senml.malformed',
    'a channel twice',
    {
      readings: [
        { channel: 'a', value: 1 },
        { channel: 'a', value: 1 },
      ],
    },
  ],
  ['senml.malformed', 'a channel that is no name', { readings: [{ channel: 'a b', value: 1 }] }],
  [
    'senml.malformed',
    'a channel that reads like another device’s',
    { readings: [{ channel: 'a:b', value: 1 }] },
  ],
  [
    'senml.malformed',
    'a channel that reads like the device type',
    { readings: [{ channel: 'device.type', value: 'x' }] },
  ],
  ['senml.not_finite', 'a value that is no number', { readings: [{ channel: 'a', value: Number.NaN }] }],
  ['senml.limit', 'a text that is too long', { readings: [{ channel: 'a', value: 'x'.repeat(257) }] }],
  [
    'senml.limit',
    'a unit that is too long',
    { readings: [{ channel: 'a', unit: 'x'.repeat(33), value: 1 }] },
  ],
  ['senml.limit', 'a device type that is too long', { deviceType: 'x'.repeat(257) }],
  ['senml.unsupported', 'a time that would read as relative', { timeMs: 5 }],
  [
    'senml.limit',
    'a time whose milliseconds a double of seconds cannot hold',
    { timeMs: 253_402_300_799_001 },
  ],
] as const) {
  test(`encodeSenmlCbor: refuses ${what}, which no reader would take`, () => {
    assert.throws(() => encodeSenmlCbor(device, { ...sound, ...changed }), withCode(code));
  });
}

test('isChannelName: what stands before the first dot is the group', () => {
  for (const name of ['a', '9', 'fuel.temperature', 'demand.Nf_dmd', 'a/b-c'])
    assert.ok(isChannelName(name), name);
  for (const name of ['', '.a', '-a', 'a b', 'ä', 'a:b', 'a\n', 'a'.repeat(65)])
    assert.ok(!isChannelName(name), name);
  assert.equal(channelGroup('fuel.temperature.inlet'), 'fuel');
  assert.equal(channelGroup('fuel'), 'general');
});

test('decodeSenmlCbor: a text that begins with U+FEFF keeps it', () => {
  const readings = [{ channel: 'a', value: '\ufefftext' }];
  assert.deepEqual(
    decodeSenmlCbor(device, encodeSenmlCbor(device, { ...sound, readings })).readings,
    readings,
  );
});
