/** Which numbers belong together: those of a device, and for each of its groups of readers those of that group. */
import { parseSharedTopic } from '../domain/topic.ts';
import type { PassageLeaf } from './leaf.ts';

/** @returns the device, such as `ms-acc-1/acc-1/dev-1`, and what is below it if that counts by itself */
export function streamOf({ topic, direction }: Pick<PassageLeaf, 'topic' | 'direction'>): string {
  // What comes in has the numbers of whoever sends it there.
  if (direction === 'in') return topic;
  const shared = parseSharedTopic(topic);
  return shared === undefined ? deviceOf(topic) : `${shared.device}/shared/${shared.group}`;
}

export function deviceOf(topic: string): string {
  return topic.split('/', 3).join('/');
}

/** Whether the envelope was opened, so that what the entry says of it was verified: its fault, if any, is none of `cms/`. */
export function isOpened({ alarm }: Pick<PassageLeaf, 'alarm'>): boolean {
  return alarm === undefined || !alarm.reason.startsWith('cms.');
}
