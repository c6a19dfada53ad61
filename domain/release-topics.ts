/**
 * Where an auditor publishes what it has released, and where it finds what has come for its devices. These levels are no
 * names that a certificate can carry, so nobody but the owner itself has the right to publish or to read there.
 */
import type { NamespacePath } from './namespace.ts';
import type { Topic } from './topic.ts';

const released = '$released';
const arrived = '$arrived';

/**
 * @param scope - the owner whose auditor it is
 * @param topic - within it; a filter becomes a filter
 * @returns for example `ms-acc-1/$released/acc-1/dev-1/snapshots`
 */
export function releasedTopic(scope: NamespacePath, topic: string): Topic {
  return `${scope}/${released}${topic.slice(scope.length)}` as Topic;
}

/** @returns where it belongs, for example `ms-acc-1/acc-1/dev-1/snapshots`; undefined for any other topic */
export function parseReleasedTopic(scope: NamespacePath, topic: string): string | undefined {
  const prefix = `${scope}/${released}/`;
  return topic.startsWith(prefix) ? `${scope}/${topic.slice(prefix.length)}` : undefined;
}

/** @returns for example `ms-acc-1/$arrived/acc-1/dev-1/commands`; a filter becomes a filter */
export function arrivedTopic(scope: NamespacePath, topic: string): Topic {
  return `${scope}/${arrived}${topic.slice(scope.length)}` as Topic;
}

/** Where an auditor tells itself that it has been sent everything that its broker keeps. */
export function auditorProbeTopic(scope: NamespacePath): Topic {
  return `${scope}/$auditor/probe` as Topic;
}

/** @returns where it belongs, for example `ms-acc-1/acc-1/dev-1/commands`; undefined for any other topic */
export function parseArrivedTopic(scope: NamespacePath, topic: string): string | undefined {
  const prefix = `${scope}/${arrived}/`;
  return topic.startsWith(prefix) ? `${scope}/${topic.slice(prefix.length)}` : undefined;
}
