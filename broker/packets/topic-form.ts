/** Which topic names and filters are taken at all, before anybody asks for rights: MQTT's own rules, and the bounds. */
import { isTopicFilterWithin, isTopicWithin, mqttBounds } from '../../domain/topic.ts';
import type { TopicBounds } from '../../domain/topic.ts';
import { hasControlCharacter } from '../../mqtt/packets/packet-body.ts';
import { innerFilter, isShared } from '../access/shared-filter.ts';

/** @returns false for what no client may publish to: wildcards [MQTT-3.3.2-2], nothing [MQTT-4.7.3-1], NUL [MQTT-4.7.3-2] */
export function isTopicName(text: string): boolean {
  return isTopicWithin(text, mqttBounds) && !hasControlCharacter(text);
}

/** @returns false for a wildcard that does not stand alone [MQTT-4.7.1-2], [MQTT-4.7.1-3], or a share without a name */
export function isFilter(text: string): boolean {
  const asked = isShared(text) ? innerFilter(text) : text; // [MQTT-4.8.2-1], [MQTT-4.8.2-2]
  return asked !== undefined && isTopicFilterWithin(asked, mqttBounds) && !hasControlCharacter(text);
}

/** MQTT would allow it; the configuration does not. */
export type BoundsFault = 'topic_too_long' | 'topic_too_deep';

/** @param text - a topic name, or a filter, of which a share's prefix does not count */
export function boundsFault(
  text: string,
  { topicBytesMax, topicLevelsMax }: TopicBounds,
): BoundsFault | undefined {
  const topic = (isShared(text) ? innerFilter(text) : undefined) ?? text;
  if (Buffer.byteLength(topic) > topicBytesMax) return 'topic_too_long';
  return topic.split('/').length > topicLevelsMax ? 'topic_too_deep' : undefined;
}
