import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { encode } from 'cborg';
import * as fc from 'fast-check';
import type { Command, CommandResult } from '../../domain/command.ts';
import {
  decodeCommand,
  decodeCommandResult,
  encodeCommand,
  encodeCommandResult,
} from '../../domain/command.ts';

const time = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
const parameter = fc.oneof(
  fc.string(),
  fc.boolean(),
  fc.double({ noNaN: true, noDefaultInfinity: true }).filter((value) => !Object.is(value, -0)),
);
const plain = { noNullPrototype: true };
const command: fc.Arbitrary<Command> = fc.record(
  {
    id: fc.uuid(),
    name: fc.constant('ping' as const),
    issuedAtMs: time,
    expiresAtMs: time,
    parameters: fc
      .dictionary(fc.string(), parameter, { maxKeys: 32, noNullPrototype: true })
      .filter((map) => !Object.hasOwn(map, '__proto__')),
  },
  plain,
);
const result: fc.Arbitrary<CommandResult> = fc.record(
  {
    id: fc.uuid(),
    outcome: fc.constantFrom('done' as const, 'refused' as const, 'expired' as const),
    finishedAtMs: time,
    detail: fc.string({ maxLength: 1000 }),
  },
  plain,
);

const valid: Command = {
  id: '5d1f7b1a-8f54-4c55-9d0c-0c6c5f1c7d11',
  name: 'ping',
  issuedAtMs: 1_700_000_000_000,
  expiresAtMs: 1_700_000_060_000,
  parameters: { depth: 3 },
};
const malformed = { code: 'command.malformed' };

test('decodeCommand: reads what encodeCommand wrote', () => {
  fc.assert(fc.property(command, (one) => assert.deepEqual(decodeCommand(encodeCommand(one)), one)));
});

test('decodeCommandResult: reads what encodeCommandResult wrote', () => {
  fc.assert(
    fc.property(result, (one) => assert.deepEqual(decodeCommandResult(encodeCommandResult(one)), one)),
  );
});

test('encodeCommandResult: a longer detail is cut, so that it can always be read', () => {
  const long: CommandResult = {
    id: randomUUID(),
    outcome: 'refused',
    finishedAtMs: 1,
    detail: 'x'.repeat(5000),
  };
  assert.equal(decodeCommandResult(encodeCommandResult(long)).detail.length, 1000);
});

test('decodeCommand: every cut and every flipped bit is a command or refused, never another error', () => {
  const bytes = encodeCommand(valid);
  for (let cut = 0; cut < bytes.length; cut++)
    assert.throws(() => decodeCommand(bytes.subarray(0, cut)), malformed);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = Buffer.from(bytes);
    flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
    try {
      decodeCommand(flipped);
    } catch (error) {
      assert.equal(
        error instanceof Error && 'code' in error && error.code,
        'command.malformed',
        `bit ${bit}`,
      );
    }
  }
});

test('decodeCommand: any bytes are a command or refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      assert.throws(() => decodeCommand(bytes), malformed);
      assert.throws(() => decodeCommandResult(bytes), malformed);
    }),
  );
});

for (const [what, changed] of [
  ['an id that is no UUID', { id: 'x' }],
  ['an id in capitals', { id: valid.id.toUpperCase() }],
  ['a name that this version does not know', { name: 'reboot' }],
  ['a name that every object has', { name: 'toString' }],
  ['a time that is text', { issuedAtMs: '1' }],
  ['a time that is a fraction', { expiresAtMs: 1.5 }],
  ['a time before 1970', { expiresAtMs: -1 }],
  ['a time beyond what a number holds', { expiresAtMs: 2n ** 60n }],
  ['parameters that are a list', { parameters: [1] }],
  ['parameters that are bytes', { parameters: Uint8Array.of(1, 2) }],
  ['a parameter that is a list', { parameters: { a: [] } }],
  ['a parameter that is no number', { parameters: { a: Number.NaN } }],
  [
    'too many parameters',
    { parameters: Object.fromEntries(Array.from({ length: 33 }, (_, index) => [`p${index}`, 1])) },
  ],
] as const) {
  test(`decodeCommand: refuses ${what}`, () => {
    assert.throws(() => decodeCommand(encode({ ...valid, ...changed })), malformed);
  });
}

for (const [what, changed] of [
  ['an outcome that is not known', { outcome: 'maybe' }],
  ['a detail that is too long', { detail: 'x'.repeat(1001) }],
  ['a detail that is no text', { detail: 7 }],
  ['no time', { finishedAtMs: undefined }],
  ['an id that is no UUID', { id: '' }],
] as const) {
  test(`decodeCommandResult: refuses ${what}`, () => {
    const sound = { id: valid.id, outcome: 'done', finishedAtMs: 1, detail: '' };
    const fields = Object.fromEntries(
      Object.entries({ ...sound, ...changed }).filter(([, value]) => value !== undefined),
    );
    assert.throws(() => decodeCommandResult(encode(fields)), malformed);
  });
}
