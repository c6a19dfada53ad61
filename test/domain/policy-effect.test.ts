import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { ChannelClass, Policy } from '../../domain/policy.ts';
import { channelClasses } from '../../domain/policy.ts';
import type { EffectivePolicy } from '../../domain/policy-effect.ts';
import {
  classOf,
  commandClassOf,
  effectivePolicy,
  matchesChannel,
  partition,
} from '../../domain/policy-effect.ts';
import { channelNames, named, policyArbitrary, policyWith } from './policies.ts';

const configured = ['vendor-snapshot-service'];
const atMs = 1000;

function effectOf(...policies: readonly Policy[]): EffectivePolicy {
  return effectivePolicy({ policies, configured, atMs });
}

function isAsStrict(one: ChannelClass, other: ChannelClass): boolean {
  return channelClasses.indexOf(one) >= channelClasses.indexOf(other);
}

/** Who reads what, as `recipient channel class`. */
function rightsOf(policy: EffectivePolicy, channels = channelNames): Set<string> {
  return new Set(
    partition(channels, policy).flatMap(({ group, channels: granted }) =>
      group.recipients.flatMap(({ name }) => granted.map((channel) => `${group.name} ${name} ${channel}`)),
    ),
  );
}

test('matchesChannel: a star stands for any characters, and a channel without a dot is in general', () => {
  const rows: readonly (readonly [string, string, boolean])[] = [
    ['fuel.temperature', 'fuel.temperature', true],
    ['fuel.temperature', 'fuel.temperature2', false],
    ['fuel.*', 'fuel.a.b', true],
    ['fuel.*', 'fuel', false],
    ['*.life', 'oil.life', true],
    ['*.life', 'oil.lifetime', false],
    ['*', 'hours', true],
    ['general.*', 'hours', true],
    ['general.hours', 'hours', true],
    ['general.*', 'fuel.hours', false],
    ['f*l*e', 'fuel.pressure', true],
    ['f**e', 'fe', true],
    ['Fuel.*', 'fuel.temperature', false],
    ['f.el.x', 'fuel.x', false],
  ];
  for (const [pattern, channel, expected] of rows) {
    assert.equal(matchesChannel(pattern, channel), expected, `${pattern} ${channel}`);
  }
});

test('matchesChannel: agrees with a regular expression', () => {
  const letters = fc.array(fc.constantFrom('a', 'b', '.', '*'), { maxLength: 8 });
  fc.assert(
    fc.property(letters, letters, (pattern, text) => {
      const channel = `x.${text.filter((letter) => letter !== '*').join('')}`;
      const glob = `x.${pattern.join('')}`;
      const expression = new RegExp(`^${glob.replaceAll('.', '\\.').replaceAll('*', '.*')}$`);
      assert.equal(matchesChannel(glob, channel), expression.test(channel));
    }),
  );
});

test('effectivePolicy: without a policy the configured readers read everything, and every command is allowed', () => {
  const policy = effectOf();
  const shares = partition(channelNames, policy);
  assert.deepEqual(
    shares.map(({ group, channels, class: found }) => [group.name, channels, found]),
    [['vendor', channelNames, 'auto']],
  );
  assert.equal(commandClassOf(policy, 'ping'), 'auto');
});

test('partition: the strictest of the classes that match counts, and what no rule names is denied', () => {
  const policy = effectOf(
    policyWith('ms-acc-1', {
      vendor: {
        recipients: named('vendor-snapshot-service'),
        channels: { auto: ['fuel.*', 'hours'], ask: ['*.temperature'], deny: ['fuel.recipe'] },
        limits: {},
      },
      insurer: {
        recipients: named('ms-acc-1/insurer', 'friend'),
        channels: { auto: ['general.*'], ask: [], deny: [] },
        limits: {},
      },
    }),
  );
  const shares = partition(channelNames, policy);
  assert.deepEqual(
    shares.map(({ group, channels, class: found }) => [group.name, channels, found]),
    [
      ['vendor', ['fuel.temperature', 'hours'], 'ask'],
      ['insurer', ['hours', 'general.note'], 'auto'],
    ],
  );
  assert.equal(classOf(policy, 'vendor', ['hours']), 'auto');
  assert.equal(classOf(policy, 'vendor', ['hours', 'fuel.temperature']), 'ask');
  assert.equal(classOf(policy, 'vendor', ['hours', 'fuel.recipe']), 'deny');
  assert.equal(classOf(policy, 'nobody', ['hours']), 'deny');
  assert.deepEqual(partition(['fuel.recipe'], policy), []);
});

test('effectivePolicy: a level below restricts each of recipients, channels, limits and commands alone', () => {
  const above = policyWith(
    'ms-acc-1',
    {
      vendor: {
        recipients: named('vendor-snapshot-service', 'friend'),
        channels: { auto: ['*'], ask: [], deny: ['oil.*'] },
        limits: { secondsBetweenSnapshots: 10, bytesPerHour: 100 },
      },
    },
    { commands: ['ping', 'reboot'], limits: { envelopeBytes: 1000 } },
  );
  const group = (policy: EffectivePolicy) => policy.groups[0] ?? assert.fail('no group');
  const silent = effectOf(above, policyWith('ms-acc-1/acc-1', undefined));
  assert.deepEqual(rightsOf(silent), rightsOf(effectOf(above)));
  const fewer = effectOf(
    policyWith('ms-acc-1/acc-1', { vendor: { recipients: named('friend'), limits: {} } }),
    above,
  );
  assert.deepEqual(
    group(fewer).recipients.map(({ name }) => name),
    ['friend'],
  );
  assert.deepEqual(group(fewer).limits, {
    secondsBetweenSnapshots: 10,
    bytesPerHour: 100,
    envelopeBytes: 1000,
  });
  const narrower = effectOf(
    above,
    policyWith('ms-acc-1/acc-1/dev-1', {
      vendor: {
        channels: { auto: ['oil.*', 'hours'], ask: [], deny: [] },
        limits: { secondsBetweenSnapshots: 5 },
      },
    }),
  );
  assert.deepEqual(
    rightsOf(narrower),
    new Set(['vendor vendor-snapshot-service hours', 'vendor friend hours']),
  );
  assert.equal(group(narrower).limits.secondsBetweenSnapshots, 10);
  const obedient = effectOf(above, policyWith('ms-acc-1/acc-1', undefined, { commands: ['ping', 'clean'] }));
  assert.deepEqual(obedient.commands, ['ping']);
  const asking = effectOf(
    above,
    policyWith('ms-acc-1/acc-1', undefined, {
      commands: ['ping', 'clean'],
      askedCommands: ['ping', 'clean'],
    }),
  );
  assert.deepEqual(
    ['ping', 'clean', 'reboot'].map((name) => commandClassOf(asking, name)),
    ['ask', 'deny', 'deny'],
  );
  const lonely = effectOf(above, policyWith('ms-acc-1/acc-1', {}));
  assert.deepEqual(lonely.groups, []);
});

test('effectivePolicy: another certificate under the same name is another reader', () => {
  const withCertificate = (path: string, leaf: string): Policy =>
    policyWith(path, {
      insurer: {
        recipients: [{ name: 'friend', trust: 'pinned', certificates: [Buffer.from(leaf)] }],
        channels: { auto: ['*'], ask: [], deny: [] },
        limits: {},
      },
    });
  const above = withCertificate('ms-acc-1', 'one');
  assert.equal(effectOf(above, withCertificate('ms-acc-1/acc-1', 'one')).groups.length, 1);
  assert.equal(effectOf(above, withCertificate('ms-acc-1/acc-1', 'other')).groups.length, 0);
  const byName = policyWith('ms-acc-1/acc-1', { insurer: { recipients: named('friend'), limits: {} } });
  assert.deepEqual(effectOf(above, byName).groups[0]?.recipients[0]?.certificates, [Buffer.from('one')]);
});

test('effectivePolicy: a level that is not in force grants nothing, and says when that changes', () => {
  const above = policyWith('ms-acc-1', undefined, { validUntilMs: 1500 });
  const early = effectivePolicy({ policies: [above], configured, atMs: 1499 });
  assert.deepEqual([early.groups.length, early.changesAtMs], [1, 1500]);
  const late = effectivePolicy({ policies: [above], configured, atMs: 1500 });
  assert.deepEqual(
    [late.groups.length, late.changesAtMs, late.levels[0]?.standing],
    [0, undefined, 'expired'],
  );
  assert.equal(commandClassOf(late, 'ping'), 'deny');
  const next = policyWith('ms-acc-1', undefined, { validFromMs: 2000 });
  assert.equal(effectivePolicy({ policies: [next], configured, atMs }).groups.length, 0);
});

const top = policyArbitrary('ms-acc-1');
const middle = policyArbitrary('ms-acc-1/acc-1');
const bottom = policyArbitrary('ms-acc-1/acc-1/dev-1');

test('partition: nobody gets a channel that not every level that speaks of readers grants', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(top, middle, bottom), { maxLength: 3 }), (policies) => {
      const distinct = [...new Map(policies.map((policy) => [policy.path, policy])).values()];
      const effect = effectOf(...distinct);
      const isInForce = distinct.every(({ validUntilMs = Infinity }) => validUntilMs > atMs);
      const speaking = distinct.filter(({ readers }) => readers !== undefined);
      for (const { group, channels } of partition(channelNames, effect)) {
        assert.ok(isInForce);
        for (const channel of channels) {
          for (const { readers } of speaking) {
            const level = Object.entries(readers ?? {}).find(([name]) => name === group.name)?.[1];
            assert.ok(level, `${group.name} is not there`);
            const { recipients, channels: rules } = level;
            for (const { name } of recipients === undefined ? [] : group.recipients) {
              assert.ok(
                recipients?.some((one) => one.name === name),
                name,
              );
            }
            if (rules === undefined) continue;
            const isNamed = [...rules.auto, ...rules.ask].some((pattern) => matchesChannel(pattern, channel));
            assert.ok(isNamed && !rules.deny.some((pattern) => matchesChannel(pattern, channel)), channel);
          }
        }
      }
    }),
    { numRuns: 1000 },
  );
});

test('partition: divides by channel: each channel by itself goes to those who get it within the whole', () => {
  fc.assert(
    fc.property(top, bottom, (above, below) => {
      const effect = effectOf(above, below);
      const alone = channelNames.flatMap((channel) => [...rightsOf(effect, [channel])]);
      assert.deepEqual(new Set(alone), rightsOf(effect));
    }),
    { numRuns: 300 },
  );
});

test('effectivePolicy: a level below never widens what those above grant', () => {
  fc.assert(
    fc.property(top, middle, bottom, (above, between, below) => {
      const readers = above.readers ?? {};
      const speaking = { ...above, readers };
      const whole = effectOf(speaking);
      for (const narrowed of [
        effectOf(speaking, between),
        effectOf(below, speaking),
        effectOf(speaking, between, below),
      ]) {
        const before = rightsOf(whole);
        for (const right of rightsOf(narrowed)) assert.ok(before.has(right), right);
        for (const name of ['ping', 'reboot', 'clean']) {
          assert.ok(isAsStrict(commandClassOf(narrowed, name), commandClassOf(whole, name)));
        }
        for (const group of narrowed.groups) {
          const wide = whole.groups.find(({ name }) => name === group.name) ?? assert.fail(group.name);
          for (const channel of channelNames) {
            const order = ['auto', 'ask', 'deny'];
            assert.ok(order.indexOf(group.classOf(channel)) >= order.indexOf(wide.classOf(channel)));
          }
          const strict = (limits: typeof group.limits) => [
            limits.secondsBetweenSnapshots ?? 0,
            -(limits.envelopeBytes ?? Infinity),
            -(limits.bytesPerHour ?? Infinity),
          ];
          const after = strict(group.limits);
          strict(wide.limits).forEach((limit, index) => assert.ok((after[index] ?? NaN) >= limit));
        }
      }
    }),
    { numRuns: 500 },
  );
});
