import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode, encode, rfc8949EncodeOptions } from 'cborg';
import * as fc from 'fast-check';
import type { Policy } from '../../domain/policy.ts';
import { decodePolicy, encodePolicy } from '../../domain/policy.ts';
import { pathOf, policyArbitrary, policyWith } from './policies.ts';

const full: Policy = {
  path: pathOf('ms-acc-1/acc-1'),
  number: 7,
  issuer: pathOf('ms-acc-1'),
  validFromMs: 1_700_000_000_000,
  validUntilMs: 1_800_000_000_000,
  readers: {
    vendor: {
      recipients: [
        { name: 'vendor-snapshot-service', trust: 'configured', certificates: [] },
        { name: 'A friend', trust: 'pinned', certificates: [Buffer.from([1, 2, 3])] },
      ],
      channels: { auto: ['fuel.*', '*.life'], ask: [], deny: ['fuel.recipe'] },
      limits: { secondsBetweenSnapshots: 2.5 },
    },
  },
  limits: { envelopeBytes: 1000, bytesPerHour: 100_000 },
  commands: ['ping'],
};

test('decodePolicy: gives back what encodePolicy wrote, in the canonical order', () => {
  const decoded = decodePolicy(encodePolicy(full));
  assert.deepEqual(Object.keys(decoded.readers ?? {}), ['vendor']);
  assert.deepEqual(decoded.readers?.['vendor']?.channels?.auto, ['*.life', 'fuel.*']);
  assert.deepEqual(
    decoded.readers['vendor']?.recipients?.map(({ name }) => name),
    ['A friend', 'vendor-snapshot-service'],
  );
  assert.deepEqual(encodePolicy(decoded), encodePolicy(full));
});

test('encodePolicy: any policy comes back, and the same policy is the same octets', () => {
  fc.assert(
    fc.property(policyArbitrary('ms-acc-1/acc-1'), (policy) => {
      const encoded = encodePolicy(policy);
      assert.deepEqual(encodePolicy(decodePolicy(encoded)), encoded);
      const { readers } = policy;
      if (readers === undefined) return;
      const turned = Object.fromEntries(
        Object.entries(readers)
          .toReversed()
          .map(([name, group]) => [
            name,
            group.recipients === undefined ? group : { ...group, recipients: group.recipients.toReversed() },
          ]),
      );
      assert.deepEqual(encodePolicy({ ...policy, readers: turned }), encoded);
    }),
  );
});

test('decodePolicy: whatever is cut off or flipped, it throws its own error or reads another policy', () => {
  const encoded = encodePolicy(full);
  for (let length = 0; length < encoded.length; length++) {
    assert.throws(() => decodePolicy(encoded.subarray(0, length)), { code: 'policy.malformed' });
  }
  fc.assert(
    fc.property(fc.nat(encoded.length * 8 - 1), (bit) => {
      const flipped = Buffer.from(encoded);
      flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      try {
        assert.deepEqual(Buffer.from(encodePolicy(decodePolicy(flipped))), flipped);
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'policy.malformed', String(error));
      }
    }),
  );
});

test('decodePolicy: refuses what a policy may not say', () => {
  const plain: Record<string, unknown> = decode(encodePolicy(full));
  const group = { limits: {}, recipients: [{ name: 'a', trust: 'configured', certificates: [] }] };
  const big = Buffer.alloc(8193);
  const faults: readonly (readonly [object, RegExp])[] = [
    [{ type: 'approval' }, /^type: /],
    [{ version: 2 }, /^version: /],
    [{ path: 'vendor/x' }, /^path: "vendor\/x" is no path/],
    [{ issuer: 'ms-acc-2' }, /^issuer: ms-acc-2 is not above ms-acc-1\/acc-1/],
    [{ issuer: 'ms-acc-1/acc-1/dev-1', path: 'ms-acc-1/acc-1/dev-1' }, /a device signs no policy/],
    [{ number: 0 }, /^number: /],
    [{ number: 1.5 }, /^number: /],
    [{ validUntilMs: 1_600_000_000_000 }, /^validUntil: it ends before it begins/],
    [{ readers: { Vendor: group } }, /^readers.Vendor: /],
    [{ readers: { 'a/b': group } }, /^readers.a\/b: /],
    [{ readers: { a: { ...group, recipients: [] } } }, /^readers.a.recipients: /],
    [
      { readers: { a: { ...group, recipients: [...group.recipients, ...group.recipients] } } },
      /a is there twice/,
    ],
    [
      { readers: { a: { ...group, channels: { auto: ['fuel$'], ask: [], deny: [] } } } },
      /auto\[0\]: a channel name/,
    ],
    [
      { readers: { a: { ...group, recipients: [{ name: 'a', trust: 'pinned', certificates: [] }] } } },
      /a pinned one has one/,
    ],
    [
      { readers: { a: { ...group, recipients: [{ name: 'a', trust: 'pinned', certificates: [big] }] } } },
      /at most 8192 bytes/,
    ],
    [{ commands: ['rm -rf'] }, /^commands\[0\]: the name of a command/],
    [{ askedCommands: ['reboot'] }, /^askedCommands: reboot is not among the commands/],
    [{ askedCommands: [] }, /^askedCommands: /],
    [{ limits: { bytesPerHour: -1 } }, /^limits.bytesPerHour: /],
    [{ surprise: true }, /surprise/],
  ];
  for (const [change, reason] of faults) {
    const content = encode({ ...plain, ...change }, rfc8949EncodeOptions);
    assert.throws(() => decodePolicy(content), { code: 'policy.malformed', message: reason }, String(reason));
  }
});

test('decodePolicy: another encoding of the same policy is refused', () => {
  const plain: Record<string, unknown> = decode(encodePolicy(full));
  const unsorted = encode({ ...plain, commands: ['ping', 'ping'] }, rfc8949EncodeOptions);
  assert.throws(() => decodePolicy(unsorted), { message: /not in the canonical form/ });
});

test('encodePolicy: refuses one that no message could carry', () => {
  const recipients = Array.from({ length: 20 }, (_, index) => ({
    name: `reader ${index}`,
    trust: 'pinned' as const,
    certificates: [Buffer.alloc(8000, 1)],
  }));
  const large = policyWith('ms-acc-1', { vendor: { recipients, limits: {} } });
  assert.throws(() => encodePolicy(large), { code: 'policy.malformed', message: /at most 114688 are taken/ });
});
