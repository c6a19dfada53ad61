/**
 * The power is cut before every step that the agent takes on the disk; started again, the device has a working identity.
 * Most cuts are made within this process, a few by SIGKILL (`npm run soak -- renewal`: all of them).
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openVendor } from '../../registrar/fixture.ts';
import { openReader } from './field.ts';
import { byKill, byPowerCut, faded, handOver, interrupt, renewal } from './interrupted.ts';
import type { Field, StoryKind } from './interrupted.ts';

let field: Field;
before(async () => {
  const vendor = await openVendor();
  await vendor.startRegistrar();
  field = { vendor, reader: await openReader(vendor) };
});
after(async () => {
  await faded();
  await field.vendor.remove();
});

/** So many devices are cut off at a time: each waits for others most of the time. */
const atOnce = 4;
/** Three keys, the request, two roots, six files of certificates, the switch, and what is removed. */
const stepsMin = 30;

async function cutEverywhere(kind: StoryKind): Promise<number> {
  let next = 1;
  let isOver = false;
  let steps = 0;
  const work = Array.from({ length: atOnce }, async () => {
    while (!isOver) {
      const at = next++;
      if (await interrupt(field, kind, byPowerCut, { number: at, at })) steps = Math.max(steps, at);
      else isOver = true;
    }
  });
  await Promise.all(work);
  return steps;
}

for (const [name, kind] of Object.entries({ renewal, handOver })) {
  test(`${name}: without power before every step, and started again, the device ends with its new keys and with nothing lost`, async () => {
    const steps = await cutEverywhere(kind);
    assert.ok(steps >= stepsMin, `${steps} steps`);
  });

  test(`${name}: the same by SIGKILL, at a few of them`, async () => {
    for (const at of [12, 24]) {
      const number = 1000 + at;
      assert.ok(await interrupt(field, kind, byKill(field.vendor.site.directory), { number, at }));
    }
  });
}
