import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { cascadeFilters } from '../../../broker/cascade/filters.ts';
import { hopsMax, hopsOf, withHops } from '../../../broker/cascade/hops.ts';
import { Pace } from '../../../broker/cascade/pace.ts';
import { withResponseTopic } from '../../../broker/cascade/response-topic.ts';
import {
  conflictOf,
  mismatchOf,
  overlap,
  TopicMap,
  withoutGates,
} from '../../../broker/cascade/topic-map.ts';
import { defaultRoles } from '../../../broker/access/roles.ts';
import { filterCovers } from '../../../domain/topic.ts';

const plain = (filter: string): { local: string; remote: string } => ({ local: filter, remote: filter });

test('TopicMap: the levels before the first wildcard change, the others stay', () => {
  const map = new TopicMap([
    { local: 'hall/#', remote: 'ms-acc-1/acc-1/#' },
    { local: 'x/+/snapshots', remote: 'ms-acc-1/acc-2/+/snapshots' },
    { local: 'one', remote: 'ms-acc-1/two' },
  ]);
  for (const [local, remote] of [
    ['hall/dev-1/snapshots', 'ms-acc-1/acc-1/dev-1/snapshots'],
    ['hall', 'ms-acc-1/acc-1'],
    ['x/dev-7/snapshots', 'ms-acc-1/acc-2/dev-7/snapshots'],
    ['one', 'ms-acc-1/two'],
  ] as const) {
    assert.equal(map.toRemote(local), remote);
    assert.equal(map.toLocal(remote), local);
  }
  assert.equal(map.toRemote('elsewhere'), undefined);
});

test('mismatchOf: wildcards must correspond', () => {
  assert.equal(mismatchOf({ local: 'a/+/x', remote: 'b/c/+/x' }), undefined);
  assert.notEqual(mismatchOf({ local: 'a/#', remote: 'b/+' }), undefined);
  assert.notEqual(mismatchOf({ local: 'a/+/x', remote: 'b/+/y' }), undefined);
  assert.notEqual(mismatchOf({ local: '$SYS/#', remote: 'b/#' }), undefined);
});

test('conflictOf: what could arrive under two topics, or in a circle, is refused', () => {
  const renamed = { local: 'hall/#', remote: 'ms/acc/#' };
  assert.equal(conflictOf([plain('a/#'), plain('a/b')], [plain('a/#')]), undefined);
  assert.equal(conflictOf([renamed], [renamed]), undefined);
  assert.match(conflictOf([renamed, plain('hall/x')], []) ?? '', /in common at the local side/);
  assert.match(conflictOf([renamed, plain('ms/acc/x')], []) ?? '', /in common at the remote side/);
  assert.match(conflictOf([renamed], [plain('ms/+/x')]) ?? '', /come down again to ms/);
  assert.match(conflictOf([], [renamed, { local: 'other/#', remote: 'ms/acc/#' }]) ?? '', /remote side/);
});

test('overlap: two filters have a topic in common exactly if some topic matches both', () => {
  const level = fc.constantFrom('a', 'b', '+');
  const filter = fc
    .tuple(fc.array(level, { minLength: 1, maxLength: 3 }), fc.boolean())
    .map(([levels, isOpen]) => [...levels, ...(isOpen ? ['#'] : [])].join('/'));
  const names = ['a', 'b', 'c'];
  const topics = names.flatMap((one) => [
    one,
    ...names.flatMap((two) => [
      `${one}/${two}`,
      ...names.flatMap((three) => [
        `${one}/${two}/${three}`,
        ...names.map((four) => `${one}/${two}/${three}/${four}`),
      ]),
    ]),
  ]);
  fc.assert(
    fc.property(filter, filter, (a, b) => {
      const both = topics.some((topic) => filterCovers(a, topic) && filterCovers(b, topic));
      assert.equal(overlap(a, b), both);
    }),
  );
});

test('cascadeFilters: a mapping is checked by its topics above, and an ambiguous one is a fault of the configuration', () => {
  const { up } = cascadeFilters(
    'ms-acc-1',
    { up: [{ local: 'hall/#', remote: 'ms-acc-1/hall/#' }], down: [] },
    defaultRoles,
  );
  assert.equal(up[0]?.remote, 'ms-acc-1/hall/#');
  assert.throws(
    () => cascadeFilters('ms-acc-1', { up: [{ local: 'ms-acc-1/#', remote: 'ms-acc-2/#' }] }, defaultRoles),
    { code: 'broker.cascade_denied' },
  );
  assert.throws(
    () => cascadeFilters('ms-acc-1', { up: [{ local: 'hall/#', remote: 'ms-acc-1/+' }] }, defaultRoles),
    { code: 'broker.cascade_mapping' },
  );
});

const user = (name: string, value: string): Buffer => {
  const text = (one: string): Buffer => Buffer.concat([Buffer.from([0, one.length]), Buffer.from(one)]);
  return Buffer.concat([Buffer.from([0x26]), text(name), text(value)]);
};

test('withHops: the number changes, and every other property stays as it was and where it was', () => {
  const others = [
    user('a', '1'),
    Buffer.from([0x01, 1]),
    Buffer.from('090002beef', 'hex'),
    Buffer.from('03000474657874', 'hex'),
    user('a', '0'),
    user('plombe-hop', 'x'),
  ];
  for (const place of others.keys()) {
    const with3 = Buffer.concat([
      ...others.slice(0, place),
      user('plombe-hops', '3'),
      ...others.slice(place),
    ]);
    assert.equal(hopsOf(with3), 3);
    assert.deepEqual(withHops(with3, 4), Buffer.concat([...others, user('plombe-hops', '4')]));
  }
  assert.equal(hopsOf(Buffer.concat(others)), 0);
  assert.deepEqual(withHops(Buffer.alloc(0), 1), user('plombe-hops', '1'));
  assert.equal(hopsOf(user('plombe-hops', 'many')), hopsMax);
  assert.equal(hopsOf(user('plombe-hops', '-1')), hopsMax);
});

test('withResponseTopic: the name changes where there is another, and every other property stays as and where it was', () => {
  const before = Buffer.concat([
    Buffer.from([0x01, 1]),
    user('a', 'request'),
    Buffer.from('090002beef', 'hex'),
  ]);
  const after = user('plombe-hops', '8'); // with octets that look like the identifier
  const around = (topic: string): Buffer =>
    Buffer.concat([before, Buffer.from([0x08, 0, topic.length]), Buffer.from(topic), after]);
  const rename = (topic: string): string | undefined => ({ here: 'there', same: 'same' })[topic];
  assert.deepEqual(withResponseTopic(around('here'), rename), around('there'));
  for (const topic of ['same', 'elsewhere'])
    assert.deepEqual(withResponseTopic(around(topic), rename), around(topic));
  const none = Buffer.concat([before, user('\b', 'here')]);
  assert.deepEqual(withResponseTopic(none, rename), none);
  const tooLong = (): string => 'x'.repeat(65_536);
  assert.deepEqual(withResponseTopic(around('here'), tooLong), around('here'));
});

test('Pace: over any time no more than the rate and one burst', () => {
  let nowMs = 0;
  const pace = new Pace({ bytesPerSecondMax: 1000, burstBytes: 500, monotonicMs: () => nowMs });
  let bytes = 0;
  while (nowMs < 10_000) {
    const waitMs = pace.waitMs();
    nowMs += waitMs;
    if (waitMs > 0) continue;
    pace.spend(300);
    bytes += 300;
  }
  assert(bytes <= 10_000 + 500 + 600 && bytes >= 9_900, `${bytes} bytes in ten seconds`);
});

test('Pace: without a cap nothing waits', () => {
  const pace = new Pace({ bytesPerSecondMax: undefined, burstBytes: undefined, monotonicMs: () => 0 });
  pace.spend(1e12);
  assert.equal(pace.waitMs(), 0);
});

test('cascadeFilters: with `forward: released`, what is sealed goes up from where the auditor put it, and from nowhere else', () => {
  for (const [identity, device] of [
    ['ms-acc-1', 'acc-1/dev-1'],
    ['ms-acc-1/acc-1', 'dev-1'],
  ] as const) {
    const { up } = cascadeFilters(identity, { forward: 'released' }, defaultRoles);
    const topics = new TopicMap(up);
    for (const name of ['snapshots', 'shared/insurer/snapshots', 'commands/result']) {
      assert.ok(!topics.hasLocal(`${identity}/${device}/${name}`), name);
      assert.ok(topics.hasLocal(`${identity}/$released/${device}/${name}`), name);
      assert.equal(
        topics.toRemote(`${identity}/$released/${device}/${name}`),
        `${identity}/${device}/${name}`,
      );
    }
    const sealed = `${identity}/${device}/commands/result`;
    assert.equal(
      withoutGates(up).toLocal(sealed),
      undefined,
      'no request names the place where the auditor puts answers',
    );
    for (const name of ['status', 'certificates', 'enrolment']) {
      assert.equal(topics.toRemote(`${identity}/${device}/${name}`), `${identity}/${device}/${name}`);
    }
  }
});

test('cascadeFilters: with `deliver: released`, commands come down to where they wait for the auditor', () => {
  const { down } = cascadeFilters('ms-acc-1', { deliver: 'released' }, defaultRoles);
  const topics = new TopicMap(down);
  assert.equal(topics.toLocal('ms-acc-1/acc-1/dev-1/commands'), 'ms-acc-1/$arrived/acc-1/dev-1/commands');
  assert.equal(topics.toLocal('ms-acc-1/acc-1/dev-1/policy'), 'ms-acc-1/acc-1/dev-1/policy');
});
