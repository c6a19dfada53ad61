import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { defaultRoles } from '../../../broker/access/roles.ts';
import { limitsType } from '../../../broker/limits.ts';
import { createMeasures } from '../../../broker/measures.ts';
import { noBytes } from '../../../broker/routing/message.ts';
import { neverExpires } from '../../../broker/routing/session.ts';
import { Sessions } from '../../../broker/routing/sessions.ts';
import { Store } from '../../../broker/store/store.ts';
import { createLog } from '../../../runtime/log.ts';

/** More than what one piece deletes. */
const left = 12_000;

test('Sessions: what an ended session leaves on disk counts for its identity until it is deleted', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'plombe-ended-'));
  const store = new Store({ directory, durability: 'os', onFirstWrite: () => undefined });
  try {
    const sessions = new Sessions({
      store,
      roles: defaultRoles,
      limits: limitsType.parse({ memoryQueuedMessagesMax: 1, perIdentity: { queuedMessagesMax: left + 2 } }),
      cascadeQueue: undefined,
      queueFull: 'refuse',
      measures: createMeasures(),
      log: createLog('test', 'silent'),
      clock: () => 0,
    });
    const client = { sendNow: () => false, close: () => undefined };
    const open = (clientId: string, clean: boolean) =>
      sessions.open('ms-acc-1', clientId, client, { clean, expirySeconds: neverExpires }).session;
    const enqueue = ({ queue }: ReturnType<typeof open>, count: number): void => {
      for (let index = 0; index < count; index++) {
        const content = { topic: 't', payload: noBytes, properties: noBytes, expiresMs: undefined };
        const terms = { qos: 1, retain: false, identifiers: noBytes, share: undefined } as const;
        queue.enqueue({ id: store.insertMessage(content, 1), storedTargets: 1, ...content }, 1, terms);
      }
    };
    const other = open('other', false);
    enqueue(other, 1);
    enqueue(open('restless', false), left);
    store.commit();
    assert.equal(other.queue.isFullFor(1), false);
    const again = open('restless', true);
    enqueue(again, 1); // as many as a clean session may have
    assert(other.queue.isFullFor(1));
    sessions.expire();
    assert(other.queue.isFullFor(1));
    sessions.expire();
    assert.equal(other.queue.isFullFor(1), false);
    enqueue(other, left);
    assert(other.queue.isFullFor(1));
  } finally {
    store.close();
    rmSync(directory, { recursive: true, force: true });
  }
});
