/** Node has no WebAssembly under `--jitless`. A file of its own: which engine a curve has is decided once in a process. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { device, laxOpener, messages, openerFor } from './messages.ts';
import { contextOf, makeIdentity } from '../identities.ts';
import { createSealer } from '../../../cms/seal.ts';
import { originatorsOf } from '../../../cms/originator.ts';

// P-256 has its engine by now, from making the messages; brainpoolP256r1 not.
test('seal, open: without WebAssembly the portable engine does the same', () => {
  assert.ok(laxOpener.open(messages['signed'] ?? Buffer.alloc(0)).content.length > 0);
  const sender = makeIdentity('ms-acc-1/acc-1/dev-1', 'brainpoolP256r1');
  const reader = makeIdentity('ms-acc-1', 'brainpoolP256r1');
  const own = Object.getOwnPropertyDescriptor(globalThis, 'WebAssembly');
  assert.ok(own);
  Reflect.deleteProperty(globalThis, 'WebAssembly');
  try {
    const sealed = createSealer(sender.sealKeys).seal(
      Buffer.from('21.5'),
      [reader.recipient.certificate],
      contextOf(),
    );
    const originators = originatorsOf([sender.originator, device.originator]);
    const opened = openerFor(reader, { originators }).open(sealed.envelope);
    assert.equal(opened.content.toString(), '21.5');
  } finally {
    Object.defineProperty(globalThis, 'WebAssembly', own);
  }
});
