/** What is retained here and came from the upstream, under the names that it has there. */
import type { Hub } from '../routing/hub.ts';
import { noBytes } from '../routing/message.ts';
import type { Turn } from '../store/turn.ts';
import type { ReconcilerOptions } from './reconciler.ts';
import type { TopicMap } from './topic-map.ts';

export function retainedFromAbove(
  down: TopicMap,
  { hub, turn }: { readonly hub: Hub; readonly turn: Turn },
): Pick<ReconcilerOptions, 'held' | 'remove'> {
  return {
    *held() {
      for (const topic of hub.retainedFrom('upstream')) {
        const remote = down.toRemote(topic);
        if (remote !== undefined) yield remote;
      }
    },
    remove: (remote) => {
      const topic = down.toLocal(remote);
      if (topic === undefined) return;
      const content = { topic, payload: noBytes, properties: noBytes, expiresMs: undefined };
      turn.guard(() => void hub.publish({ ...content, qos: 1, retain: true, origin: 'upstream' }, undefined));
    },
  };
}
