import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { parseDevicePath } from '../../domain/namespace.ts';
import {
  deviceTopic,
  deviceTopics,
  enrolmentTopic,
  filterCovers,
  isTopic,
  isTopicFilter,
  isTopicWithin,
  mqttBounds,
  parseDeviceTopic,
  parseEnrolmentTopic,
  parseSharedTopic,
  sharedTopic,
} from '../../domain/topic.ts';

const device = parseDevicePath('ms-acc-1/acc-1/dev-1') ?? assert.fail();

/** All sequences of one to `lengthMax` of the given levels. */
function paths(levels: readonly string[], lengthMax: number): string[] {
  let last = levels.map((level) => [level]);
  const all = [...last];
  for (let length = 2; length <= lengthMax; length++) {
    last = last.flatMap((path) => levels.map((level) => [...path, level]));
    all.push(...last);
  }
  return all.map((path) => path.join('/'));
}

/** MQTT 3.1.1 §4.7.1 and §4.7.2 word by word: what one filter matches, without a thought of sets. */
function matches(filter: string, topic: string): boolean {
  if (topic.startsWith('$') && /^[+#]/.test(filter)) return false;
  const pattern = filter
    .split('/')
    .map((level) =>
      level === '+' ? '[^/]*' : level === '#' ? '#' : level.replaceAll(/[$.]/g, String.raw`\$&`),
    )
    .join('/')
    .replace(/^#$/, '.*')
    .replace(/\/#$/, '(/.*)?');
  return new RegExp(`^${pattern}$`, 's').test(topic);
}

test('filterCovers: decides what a filter matches, for every filter and topic of three levels', () => {
  const topics = paths(['a', 'b', '$s', ''], 3).filter(isTopic);
  const filters = paths(['a', '$s', '+', '#', ''], 3).filter(isTopicFilter);
  for (const filter of filters) {
    for (const topic of topics) {
      assert.equal(filterCovers(filter, topic), matches(filter, topic), `${filter} ${topic}`);
    }
  }
});

test('filterCovers: is inclusion of sets, for every two filters', () => {
  // Letters that no filter names, and one level more than any filter, stand for all other topics.
  const topics = paths(['a', 'b', 'z', '$s', ''], 4).filter(isTopic);
  const filters = paths(['a', 'b', '$s', '+', '#'], 3).filter(isTopicFilter);
  const matched = new Map(
    filters.map((filter) => [filter, topics.filter((topic) => matches(filter, topic))]),
  );
  for (const outer of filters) {
    const within = new Set(matched.get(outer));
    for (const inner of filters) {
      const included = (matched.get(inner) ?? []).every((topic) => within.has(topic));
      assert.equal(filterCovers(outer, inner), included, `${outer} covers ${inner}`);
    }
  }
});

test('isTopicFilter: wildcards stand alone, # stands last', () => {
  for (const filter of ['#', '+', 'a/#', '+/a/+', '/', '/+', 'a//b', '$SYS/#'])
    assert.ok(isTopicFilter(filter), filter);
  for (const filter of [
    '',
    'a#',
    '#/a',
    'a/#/b',
    'a+',
    '+a',
    'a/b+',
    '##',
    '++',
    'a\0b',
    '\ud800',
    'a'.repeat(257),
    '/////////',
  ]) {
    assert.ok(!isTopicFilter(filter), JSON.stringify(filter));
  }
});

test('isTopic: a filter without wildcards', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('a', '/', '+', '#', '\0', 'é') }), (text) => {
      assert.equal(isTopic(text), isTopicFilter(text) && !/[+#]/.test(text));
    }),
  );
});

test('isTopic: the bound is on bytes, not on characters; another one can be given', () => {
  assert.ok(isTopic('é'.repeat(128)));
  assert.ok(!isTopic('é'.repeat(129)));
  assert.ok(isTopicWithin('é'.repeat(129), mqttBounds));
  assert.ok(!isTopicWithin('a/b', { topicBytesMax: 3, topicLevelsMax: 1 }));
});

test('parseDeviceTopic: reads what deviceTopic writes, for every name', () => {
  for (const name of deviceTopics) {
    assert.ok(isTopic(deviceTopic(device, name)));
    assert.deepEqual(parseDeviceTopic(deviceTopic(device, name)), { device, name });
  }
});

test('parseDeviceTopic: is undefined for everything else', () => {
  for (const topic of [
    '',
    device,
    `${device}/`,
    `${device}/snapshots/`,
    `${device}/nonsense`,
    `/${device}/snapshots`,
    'ms-acc-1/acc-1/snapshots',
    'vendor/acc-1/dev-1/snapshots',
    'ms-acc-1/acc-1/../snapshots',
    'ms-acc-1/acc-1/+/snapshots',
  ]) {
    assert.equal(parseDeviceTopic(topic), undefined, topic);
  }
});

test('parseEnrolmentTopic: reads what enrolmentTopic writes, and what lies below it', () => {
  for (const name of [device, 'vendor-factory-4711']) {
    const topic = enrolmentTopic(name) ?? '';
    assert.ok(isTopic(topic));
    assert.deepEqual(parseEnrolmentTopic(topic), { name, part: 'request' });
    assert.deepEqual(parseEnrolmentTopic(`${topic}/reply`), { name, part: 'reply' });
    assert.deepEqual(parseEnrolmentTopic(`${topic}/approval`), { name, part: 'approval' });
    assert.equal(parseEnrolmentTopic(`${topic}/request`), undefined);
    assert.equal(parseEnrolmentTopic(`${topic}/`), undefined);
  }
  for (const name of ['ms-acc-1', 'ms-acc-1/acc-1', 'vendor-crl-service', 'vendor-factory-', '+/+/+', '']) {
    assert.equal(enrolmentTopic(name), undefined, name);
  }
  for (const topic of [
    'vendor/enrolment/vendor-crl-service',
    '+/+/+/enrolment',
    `${device}/snapshots`,
    'vendor/enrolment',
  ]) {
    assert.equal(parseEnrolmentTopic(topic), undefined, topic);
  }
});

test('parseSharedTopic: reads what sharedTopic writes, and nothing else', () => {
  assert.deepEqual(parseSharedTopic(sharedTopic(device, 'insurer')), { device, group: 'insurer' });
  for (const topic of [
    `${device}/snapshots`,
    `${device}/shared/snapshots`,
    `${device}/shared/Insurer/snapshots`,
    `${device}/shared/insurer`,
    `${device}/shared/insurer/snapshots/x`,
    `${device}/shared/+/snapshots`,
    'vendor/acc-1/dev-1/shared/insurer/snapshots',
    'ms-acc-1/acc-1/shared/insurer/snapshots',
  ]) {
    assert.equal(parseSharedTopic(topic), undefined, topic);
  }
});
