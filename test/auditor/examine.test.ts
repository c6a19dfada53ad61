import assert from 'node:assert/strict';
import test from 'node:test';
import { examine } from '../../auditor/examine.ts';
import { createOpener } from '../../cms/open.ts';
import type { Opener } from '../../cms/open.ts';
import { originatorsOf } from '../../cms/originator.ts';
import { createSealer } from '../../cms/seal.ts';
import { parseDevicePath } from '../../domain/namespace.ts';
import { authority, contextOf, makeIdentity } from '../cms/identities.ts';
import { freshLists } from '../pki/lists.ts';

test('examine: a recipient of a kind that nobody here knows is foreign', (context) => {
  const [device, auditor] = [makeIdentity('ms-acc-1/acc-1/dev-1'), makeIdentity('ms-acc-1')];
  const { certificate } = auditor.recipient;
  const path = parseDevicePath('ms-acc-1/acc-1/dev-1');
  assert.ok(path);
  const { envelope } = createSealer(device.sealKeys).seal(Buffer.from('[]'), [certificate], contextOf());
  const opener = createOpener({
    recipient: auditor.recipient,
    originators: originatorsOf([
      {
        ...device.originator,
        paths: [{ chain: [device.originator.keyAgreement], root: authority.certificate }],
      },
    ]),
  });
  const alarmOf = (used: Opener) =>
    examine(
      {
        device: path,
        content: 'snapshot',
        waits: true,
        topic: contextOf().topic,
        envelope,
        receivedMs: contextOf().signingTimeMs,
      },
      {
        opener: used,
        recipients: [
          { name: 'ms-acc-1', certificate, verified: { chain: [certificate], root: authority.certificate } },
        ],
        lists: freshLists(context, [authority.certificate]).lists,
        digestsOf: () => [],
      },
    ).passage.alarm;
  assert.equal(alarmOf(opener)?.reason, 'senml.malformed'); // whoever can read it is known
  const withOthers: Opener = {
    open: (bytes, options) => ({ ...opener.open(bytes, options), otherRecipients: 2 }),
  };
  assert.deepEqual(alarmOf(withOthers), {
    reason: 'audit.foreign_recipient',
    detail: '2 of a kind that is not known',
  });
});
