/** Policies for tests, written and drawn. */
import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import type { NamespacePath } from '../../domain/namespace.ts';
import { parseNamespacePath } from '../../domain/namespace.ts';
import type { ChannelRules, Policy, PolicyRecipient, ReaderGroup } from '../../domain/policy.ts';

export function pathOf(text: string): NamespacePath {
  return parseNamespacePath(text) ?? assert.fail(`${text} is no path`);
}

export function policyWith(path: string, readers: Policy['readers'], rest: Partial<Policy> = {}): Policy {
  const issuer = pathOf(path.split('/').slice(0, 2).join('/'));
  return {
    path: pathOf(path),
    number: 1,
    issuer,
    limits: {},
    ...(readers === undefined ? {} : { readers }),
    ...rest,
  };
}

export function named(...names: readonly string[]): PolicyRecipient[] {
  return names.map((name) => ({ name, trust: 'configured', certificates: [] }));
}

/** Few names, so that what one level says and another does not is common. */
const groupNames = ['vendor', 'insurer', 'constructor'];
const recipientNames = ['vendor-snapshot-service', 'ms-acc-1/insurer', 'friend'];
export const channelNames = ['fuel.temperature', 'fuel.recipe', 'oil.life', 'hours', 'general.note'];
const patterns = [...channelNames, '*', 'fuel.*', '*.life', 'general.*', 'f*e', 'x*'];

const rulesArbitrary: fc.Arbitrary<ChannelRules> = fc.record({
  auto: fc.subarray(patterns),
  ask: fc.subarray(patterns, { maxLength: 2 }),
  deny: fc.subarray(patterns.slice(1), { maxLength: 1 }),
});

const recipientArbitrary = (name: string): fc.Arbitrary<PolicyRecipient> =>
  fc.constantFrom<PolicyRecipient>(
    { name, trust: 'configured', certificates: [] },
    { name, trust: 'chain', certificates: [Buffer.from(`leaf of ${name}`), Buffer.from('ca')] },
    { name, trust: 'pinned', certificates: [Buffer.from(`another of ${name}`)] },
  );

const limitsArbitrary = fc.record(
  {
    secondsBetweenSnapshots: fc.nat(100),
    envelopeBytes: fc.integer({ min: 1, max: 1000 }),
    bytesPerHour: fc.integer({ min: 1, max: 1000 }),
  },
  { requiredKeys: [] },
);

const groupArbitrary: fc.Arbitrary<ReaderGroup> = fc.record(
  {
    recipients: fc
      .subarray(recipientNames, { minLength: 1 })
      .chain((names) => fc.tuple(...names.map(recipientArbitrary))),
    channels: rulesArbitrary,
    limits: limitsArbitrary,
  },
  { requiredKeys: ['limits'] },
);

const readersArbitrary = fc.subarray(groupNames).chain((names) =>
  fc.tuple(...names.map(() => groupArbitrary)).map((groups) => {
    return Object.fromEntries(names.map((name, index) => [name, groups[index] ?? { limits: {} }]));
  }),
);

export function policyArbitrary(path: string): fc.Arbitrary<Policy> {
  return fc
    .record(
      {
        number: fc.integer({ min: 1, max: 1000 }),
        limits: limitsArbitrary,
        readers: readersArbitrary,
        commands: fc.subarray(['ping', 'reboot', 'clean']),
        validUntilMs: fc.constantFrom(500, 2000),
      },
      { requiredKeys: ['number', 'limits'] },
    )
    .chain((fields) => fc.tuple(fc.constant(fields), fc.subarray(fields.commands ?? [])))
    .map(([fields, askedCommands]) => ({
      ...policyWith(path, undefined),
      ...fields,
      ...(askedCommands.length === 0 ? {} : { askedCommands }),
    }));
}
