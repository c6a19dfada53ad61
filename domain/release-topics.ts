/**
 * Where an auditor publishes what it has released. The level is no name that a certificate can carry, so nobody but the
 * owner itself has the right to publish there.
 */
import type { NamespacePath } from './namespace.ts';
import type { Topic } from './topic.ts';

const released = '$released';

/**
 * @param scope - the owner whose auditor it is
 * @param topic - within it; a filter becomes a filter
 * @returns for example `ms-acc-1/$released/acc-1/dev-1/snapshots`
 */
export function releasedTopic(scope: NamespacePath, topic: string): Topic {
  return `${scope}/${released}${topic.slice(scope.length)}` as Topic;
}
