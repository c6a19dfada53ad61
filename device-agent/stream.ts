/** A device's streams: what each group of readers gets of it has numbers and a chain of its own (decision 0018). */
import type { NamespacePath } from '../domain/namespace.ts';
import { mainGroup } from '../domain/policy.ts';
import type { DeviceTopic, Topic } from '../domain/topic.ts';
import { sharedTopic } from '../domain/topic.ts';

/** The ends of the topics on which a device's own envelopes go out. */
export type OutgoingTopic = Extract<DeviceTopic, 'snapshots' | 'commands/result'>;

const snapshotsEnd = '/snapshots';

/**
 * @param group - of readers
 * @returns what its topics begin with: of the main group the device itself
 */
export function streamOf(device: NamespacePath, group: string): string {
  return group === mainGroup ? device : sharedTopic(device, group).slice(0, -snapshotsEnd.length);
}

/** @returns what every stream of a device begins with, but for the main one */
export function sharedPrefix(device: NamespacePath): string {
  return `${device}/shared/`;
}

/** Where an envelope of a stream goes. Results go by the main one alone. */
export function streamTopic(stream: string, name: OutgoingTopic): Topic {
  return `${stream}/${name}` as Topic;
}
