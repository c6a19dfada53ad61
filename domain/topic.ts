/** MQTT topic names and filters as sets (MQTT 3.1.1 §4.7), and the topics of DESIGN §4. */
import type { NamespacePath } from './namespace.ts';
import { isFactoryName, parseDevicePath } from './namespace.ts';
import { topicBytesMax, topicLevelsMax } from './limits.ts';

/** Only `isTopic` makes one, so holding one proves that it was checked. */
export type Topic = string & { readonly brand: 'Topic' };
/** Only `isTopicFilter` makes one. */
export type TopicFilter = string & { readonly brand: 'TopicFilter' };

/** The last levels of the topics that a device has below its own path. */
export const deviceTopics = [
  'snapshots',
  'status',
  'certificates',
  'commands',
  'commands/result',
  'firmware',
  'firmware/progress',
  'policy',
  'enrolment',
  'enrolment/reply',
  'enrolment/approval',
] as const;
export type DeviceTopic = (typeof deviceTopics)[number];

/** How long and how deep a topic may be. */
export interface TopicBounds {
  /** Of UTF-8. */
  readonly topicBytesMax: number;
  readonly topicLevelsMax: number;
}

const ownBounds: TopicBounds = { topicBytesMax, topicLevelsMax };
/** What the standard bounds, and no more [MQTT-4.7.3-3]. */
export const mqttBounds: TopicBounds = { topicBytesMax: 65_535, topicLevelsMax: 65_536 };

/** @returns whether `text` is a topic name: no wildcard [MQTT-4.7.1-1], no NUL, within the bounds of our own topics */
export function isTopic(text: string): text is Topic {
  return isTopicWithin(text, ownBounds);
}

/** @returns whether `text` is a topic filter: `#` alone in the last level [MQTT-4.7.1-2], `+` alone in a level [MQTT-4.7.1-3] */
export function isTopicFilter(text: string): text is TopicFilter {
  return isTopicFilterWithin(text, ownBounds);
}

/** Like `isTopic`, for topics that are not ours. */
export function isTopicWithin(text: string, bounds: TopicBounds): boolean {
  return isWellFormed(text, bounds) && !/[+#]/.test(text);
}

/** Like `isTopicFilter`, for topics that are not ours. */
export function isTopicFilterWithin(text: string, bounds: TopicBounds): boolean {
  if (!isWellFormed(text, bounds)) return false;
  const levels = text.split('/');
  return levels.every((level, index) => {
    if (level === '#') return index === levels.length - 1;
    return level === '+' || !/[+#]/.test(level);
  });
}

/**
 * Whether every topic that `inner` can match is matched by `outer`: set inclusion, not string comparison.
 * A topic name is the filter that matches itself alone, so this also decides whether a filter matches a topic.
 */
export function filterCovers(outer: string, inner: string): boolean {
  // [MQTT-4.7.2-1]: a leading wildcard never matches a topic that begins with `$`.
  if (inner.startsWith('$') && /^[+#]/.test(outer)) return false;
  if (outer === '+/#') return true; // the same set as `#`: every topic has a first level
  const outerLevels = outer.split('/');
  const innerLevels = inner.split('/');
  for (const [index, level] of outerLevels.entries()) {
    if (level === '#') return true;
    const asked = innerLevels[index];
    if (asked === undefined) return false;
    if (asked === '#') return false; // `#` also matches what is deeper, and the parent itself
    if (level === '+') continue;
    if (level !== asked) return false;
  }
  return innerLevels.length === outerLevels.length;
}

/** @returns for example `ms-acc-1/acc-1/dev-1/snapshots` */
export function deviceTopic(device: NamespacePath, name: DeviceTopic): Topic {
  return `${device}/${name}` as Topic;
}

/** @returns the device and the rest of a device's topic, or undefined for any other topic */
export function parseDeviceTopic(topic: string): { device: NamespacePath; name: DeviceTopic } | undefined {
  const levels = topic.split('/');
  const device = parseDevicePath(levels.slice(0, 3).join('/'));
  const rest = levels.slice(3).join('/');
  const name = deviceTopics.find((known) => known === rest);
  return device !== undefined && name !== undefined ? { device, name } : undefined;
}

const groupNamePattern = /^[a-z0-9][a-z0-9-]{0,19}$/;

/** @returns whether a text can name a group of readers: it is a level of their topic */
export function isGroupName(text: string): boolean {
  return groupNamePattern.test(text);
}

/** Where the readers of one group get what is sealed for them: a stream with numbers of its own (decision 0018). */
export function sharedTopic(device: NamespacePath, group: string): Topic {
  return `${device}/shared/${group}/snapshots` as Topic;
}

/** @returns the device and the group of a topic that `sharedTopic` made, or undefined for any other topic */
export function parseSharedTopic(
  topic: string,
): { readonly device: NamespacePath; readonly group: string } | undefined {
  const levels = topic.split('/');
  const device = parseDevicePath(levels.slice(0, 3).join('/'));
  const group = levels[4];
  if (device === undefined || group === undefined || !isGroupName(group)) return undefined;
  return topic === sharedTopic(device, group) ? { device, group } : undefined;
}

/** Where a master account's, an account's or a device's policy is kept, retained. */
export function policyTopic(path: NamespacePath): Topic {
  return `${path}/policy` as Topic;
}

const factoryEnrolment = 'vendor/enrolment/';

/**
 * Where somebody asks for certificates; the answer comes one level below, on `…/reply`.
 *
 * @param name - a device's path, or a factory name
 * @returns undefined for any other name
 */
export function enrolmentTopic(name: string): Topic | undefined {
  if (isFactoryName(name)) return `${factoryEnrolment}${name}` as Topic;
  const device = parseDevicePath(name);
  return device === undefined ? undefined : deviceTopic(device, 'enrolment');
}

/** @returns whose enrolment a topic is about, and which topic of it; undefined for any other topic */
export function parseEnrolmentTopic(
  topic: string,
): { readonly name: string; readonly part: 'request' | 'reply' | 'approval' } | undefined {
  const found = enrolmentPattern.exec(topic);
  const name = found?.[1] ?? found?.[2] ?? '';
  const part = found?.[3] ?? 'request';
  const isPart = part === 'request' || part === 'reply' || part === 'approval';
  return isPart && enrolmentTopic(name) !== undefined ? { name, part } : undefined;
}

const enrolmentPattern =
  /^(?:vendor\/enrolment\/([^/]+)|([^/]+\/[^/]+\/[^/]+)\/enrolment)(?:\/(reply|approval))?$/;

function isWellFormed(text: string, bounds: TopicBounds): boolean {
  if (text.length === 0) return false; // [MQTT-4.7.3-1]
  if (text.includes('\0')) return false; // [MQTT-4.7.3-2]
  if (!text.isWellFormed()) return false; // [MQTT-1.5.3-1]: no lone surrogates
  if (Buffer.byteLength(text) > bounds.topicBytesMax) return false; // [MQTT-4.7.3-3]
  return text.split('/').length <= bounds.topicLevelsMax;
}
