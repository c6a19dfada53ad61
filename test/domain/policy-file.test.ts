import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { PolicyError } from '../../domain/policy.ts';
import { parsePolicyFile } from '../../domain/policy-file.ts';

const certificates: Readonly<Record<string, readonly Uint8Array[]>> = {
  'insurer.pem': [Buffer.from('leaf'), Buffer.from('ca')],
};

function read(file: string): readonly Uint8Array[] {
  const found = certificates[file];
  if (found === undefined) throw new Error(`${file}: no such file`);
  return found;
}

/** @returns what a person would see */
function faultsOf(text: string): string[] {
  try {
    parsePolicyFile(text, read);
  } catch (error) {
    assert.ok(error instanceof PolicyError, String(error));
    return error.message.split('\n');
  }
  return assert.fail('it was taken');
}

test('parsePolicyFile: reads everything that a policy can say', () => {
  const policy = parsePolicyFile(
    `
for: ms-acc-1/acc-1
number: 3
issuer: ms-acc-1
validFrom: 2026-01-01T00:00:00Z
validUntil: 2027-01-01T00:00:00+01:00
readers:
  vendor:
    recipients: [vendor-snapshot-service]
    channels: { auto: ["*"], ask: [fuel.recipe] }
  insurer:
    recipients:
      - { name: ms-acc-1/insurer, certificate: insurer.pem }
      - { name: Ann Other, pinned: insurer.pem }
    channels: { auto: [hours] }
    limits: { secondsBetweenSnapshots: 3600 }
limits: { bytesPerHour: 1000000 }
commands: [ping]
`,
    read,
  );
  assert.deepEqual(policy, {
    path: 'ms-acc-1/acc-1',
    number: 3,
    issuer: 'ms-acc-1',
    validFromMs: Date.UTC(2026, 0, 1),
    validUntilMs: Date.UTC(2026, 11, 31, 23),
    readers: {
      vendor: {
        recipients: [{ name: 'vendor-snapshot-service', trust: 'configured', certificates: [] }],
        channels: { auto: ['*'], ask: ['fuel.recipe'], deny: [] },
        limits: {},
      },
      insurer: {
        recipients: [
          { name: 'ms-acc-1/insurer', trust: 'chain', certificates: certificates['insurer.pem'] },
          { name: 'Ann Other', trust: 'pinned', certificates: [Buffer.from('leaf')] },
        ],
        channels: { auto: ['hours'], ask: [], deny: [] },
        limits: { secondsBetweenSnapshots: 3600 },
      },
    },
    limits: { bytesPerHour: 1_000_000 },
    commands: ['ping'],
  });
});

test('parsePolicyFile: whoever it is for issues it, and of a device its account', () => {
  assert.equal(parsePolicyFile('{for: ms-acc-1, number: 1}', read).issuer, 'ms-acc-1');
  assert.equal(parsePolicyFile('{for: ms-acc-1/acc-1/dev-1, number: 1}', read).issuer, 'ms-acc-1/acc-1');
});

test('parsePolicyFile: every fault is named with its line', () => {
  assert.deepEqual(
    faultsOf(`for: ms-acc-1/acc-1
number: 0
readers:
  Vendor:
    channels: { auto: ["*"] }
  insurer:
    recipients:
      - 7
    channels:
      auto: [hours]
      sometimes: [fuel.recipe]
      deny:
        - "fuel.$"
limits:
  bytesPerHour: none
`),
    [
      'line 2: number: Too small: expected number to be >=1',
      'line 4: readers.Vendor: a group is named with 1 to 20 of a-z, 0-9 and -',
      'line 8: readers.insurer.recipients[0]: a name, or name and certificate (of our tree), or name and pinned (of anybody)',
      'line 11: readers.insurer.channels.sometimes: no such setting',
      'line 13: readers.insurer.channels.deny[0]: a channel name, in which * stands for any characters',
      'line 15: limits.bytesPerHour: Invalid input: expected number, received string',
    ],
  );
  assert.deepEqual(faultsOf('number: 1'), ['for: is missing']);
  assert.deepEqual(faultsOf('for: ms-acc-1\nnumber: 1\nnumber: 2'), ['line 3: Map keys must be unique']);
  assert.deepEqual(faultsOf('for: ms-acc-1\nnumber: 1\nissuer: ms-acc-2'), [
    'line 3: issuer: ms-acc-2 is not above ms-acc-1, and cannot speak for it',
  ]);
  assert.deepEqual(
    faultsOf(`for: ms-acc-1
number: 1
readers:
  insurer:
    recipients:
      - ms-acc-1/insurer
      - { name: Ann, certificate: ann.pem }
`),
    ['line 7: readers.insurer.recipients[1]: ann.pem: no such file'],
  );
  assert.deepEqual(faultsOf('for: ms-acc-1\nnumber: 1\nreaders: { a: { recipients: [x, y, x] } }'), [
    'line 3: readers.a.recipients: x is there twice',
  ]);
});

test('parsePolicyFile: anchors, another shape and what is too long are refused', () => {
  assert.deepEqual(faultsOf('for: &a ms-acc-1\nnumber: 1\nissuer: *a'), [
    'anchors and aliases are not read: write it out',
  ]);
  assert.equal(faultsOf('just words').length, 1);
  assert.equal(faultsOf('- a\n- b').length, 1);
  assert.deepEqual(faultsOf(`# ${'x'.repeat(300_000)}`), ['at most 262144 characters are read']);
});

test('parsePolicyFile: commands by themselves, or after somebody was asked', () => {
  const commandsIn = (written: string) => {
    const { commands, askedCommands } = parsePolicyFile(
      `{for: ms-acc-1, number: 1, commands: ${written}}`,
      read,
    );
    return [commands, askedCommands];
  };
  assert.deepEqual(commandsIn('[ping]'), [['ping'], undefined]);
  assert.deepEqual(commandsIn('{auto: [ping], ask: [clean]}'), [['ping', 'clean'], ['clean']]);
  assert.deepEqual(commandsIn('{ask: [clean]}'), [['clean'], ['clean']]);
  assert.deepEqual(commandsIn('{}'), [[], undefined]);
  assert.throws(() => commandsIn('{deny: [clean]}'), { message: /^line 1: commands/ });
});

const whole = `for: ms-acc-1/acc-1
number: 3
readers:
  vendor:
    recipients: [vendor-snapshot-service, { name: Ann, pinned: insurer.pem }]
    channels: { auto: ["*"], ask: [fuel.recipe] }
    limits: { secondsBetweenSnapshots: 3600 }
commands: [ping]
`;

test('parsePolicyFile: whatever is written, it is a policy or has faults with words', () => {
  const pieces = [
    ': ',
    '\n',
    '  ',
    '- ',
    '{',
    '}',
    '[',
    ']',
    '__proto__',
    '!!binary',
    '*',
    '&a',
    '"',
    '#',
    '7',
    '~',
  ];
  const edit = fc.record({
    at: fc.nat(whole.length),
    remove: fc.nat(12),
    insert: fc.constantFrom(...pieces, ''),
  });
  fc.assert(
    fc.property(fc.array(edit, { maxLength: 4 }), (edits) => {
      const text = edits.reduce(
        (changed, { at, remove, insert }) => changed.slice(0, at) + insert + changed.slice(at + remove),
        whole,
      );
      try {
        assert.equal(typeof parsePolicyFile(text, read).number, 'number');
      } catch (error) {
        assert.ok(error instanceof PolicyError, `${String(error)} in\n${text}`);
        assert.ok(error.faults.length > 0 && error.faults.every(({ message }) => message !== ''));
      }
    }),
    { numRuns: 500 },
  );
});
