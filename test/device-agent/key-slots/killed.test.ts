/**
 * The power is cut before a step that the agent takes on the disk; started again, the device has a working identity. A
 * renewal is cut at every other step, a hand-over at those between, for most of their way is the same. Most cuts are made
 * within this process, a few by SIGKILL (`npm run soak -- renewal`: before every step of both).
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

async function cutEverySecond(kind: StoryKind, first: number): Promise<number> {
  let next = first;
  let isOver = false;
  let steps = 0;
  const work = Array.from({ length: atOnce }, async () => {
    while (!isOver) {
      const at = next;
      next += 2;
      if (await interrupt(field, kind, byPowerCut, { number: at, at })) steps = Math.max(steps, at);
      else isOver = true;
    }
  });
  await Promise.all(work);
  return steps;
}

for (const [name, kind, first] of [
  ['renewal', renewal, 1],
  ['handOver', handOver, 2],
] as const) {
  test(`${name}: without power before a step, and started again, the device ends with its new keys and with nothing lost`, async () => {
    const steps = await cutEverySecond(kind, first);
    assert.ok(steps >= stepsMin, `${steps} steps`);
  });

  test(`${name}: the same by SIGKILL, at a few of them`, async () => {
    for (const at of [12, 24]) {
      const number = 1000 + at;
      assert.ok(await interrupt(field, kind, byKill(field.vendor.site.directory), { number, at }));
    }
  });
}
