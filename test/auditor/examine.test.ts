import assert from 'node:assert/strict';
import test from 'node:test';
import { examine } from '../../auditor/examine.ts';
import { createOpener } from '../../cms/open.ts';
import type { Opener } from '../../cms/open.ts';
import { originatorsOf } from '../../cms/originator.ts';
import { createSealer } from '../../cms/seal.ts';
import { parseDevicePath } from '../../domain/namespace.ts';
import { contextOf, makeIdentity } from '../cms/identities.ts';

test('examine: a recipient of a kind that nobody here knows is foreign', () => {
  const [device, auditor] = [makeIdentity('ms-acc-1/acc-1/dev-1'), makeIdentity('ms-acc-1')];
  const { certificate } = auditor.recipient;
  const path = parseDevicePath('ms-acc-1/acc-1/dev-1');
  assert.ok(path);
  const { envelope } = createSealer(device.sealKeys).seal(Buffer.from('[]'), [certificate], contextOf());
  const opener = createOpener({
    recipient: auditor.recipient,
    originators: originatorsOf([device.originator]),
  });
  const alarmOf = (used: Opener) =>
    examine(
      {
        device: path,
        topicName: 'snapshots',
        topic: contextOf().topic,
        envelope,
        receivedMs: 0,
      },
      { opener: used, recipients: [certificate], digestsOf: () => [] },
    ).alarm;
  assert.equal(alarmOf(opener)?.reason, 'senml.malformed'); // whoever can read it is known
  const withOthers: Opener = {
    open: (bytes, options) => ({ ...opener.open(bytes, options), otherRecipients: 2 }),
  };
  assert.deepEqual(alarmOf(withOthers), {
    reason: 'audit.foreign_recipient',
    detail: '2 of a kind that is not known',
  });
});
