/** The power is cut before every step that the agent takes on the disk; started again, the device has a working identity. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { Journal } from '../../broker/fixture.ts';
import { openVendor } from '../../registrar/fixture.ts';
import type { Vendor } from '../../registrar/fixture.ts';
import { script } from '../../system/process.ts';
import { aged, agentSettings, currentOf, identityOfAge, openReader, startFieldAgent } from './field.ts';
import type { FieldReader } from './field.ts';
import { offerTransfer } from './transfer.ts';

let vendor: Vendor;
let reader: FieldReader;
before(async () => {
  vendor = await openVendor();
  await vendor.startRegistrar();
  reader = await openReader(vendor);
});
after(() => vendor.remove());

interface AgentProcess {
  readonly child: ChildProcess;
  readonly journal: Journal;
  readonly ended: Promise<NodeJS.Signals | null>;
}

function start(settings: object, killAt: number): AgentProcess {
  const preload = path.resolve(import.meta.dirname, '../../registrar/killed-process.ts');
  const configFile = vendor.file('agent.yaml', JSON.stringify(settings)); // JSON is YAML
  const child = spawn(process.execPath, ['--import', preload, script, 'agent', '--config', configFile], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, KILL_AT: String(killAt) },
  });
  const journal = new Journal();
  createInterface({ input: child.stdout }).on('line', (line) => journal.add(line));
  const ended = once(child, 'exit').then(() => child.signalCode);
  return { child, journal, ended };
}

interface Story {
  readonly device: string;
  readonly root: string;
  readonly settings: Record<string, unknown>;
}

async function prepare(device: string, root: string): Promise<Story> {
  return { device, root, settings: await agentSettings(vendor, root) };
}

/**
 * Runs a story once for each step on the disk up to its end, cut off before that step, and then once more without.
 *
 * @param isOver - whether there is nothing left to cut
 * @param requireGood - what holds after the second run
 * @returns how often it was cut off
 */
async function cutEverywhere(
  begin: (killAt: number) => Promise<Story>,
  isOver: (journal: Journal, story: Story) => Promise<unknown>,
  requireGood: (story: Story, journal: Journal, killAt: number) => Promise<void>,
): Promise<number> {
  for (let killAt = 1; ; killAt++) {
    const story = await begin(killAt);
    const first = start(story.settings, killAt);
    const outcome = await Promise.race([first.ended, isOver(first.journal, story).then(() => 'over')]);
    if (outcome === 'over') {
      first.child.kill('SIGKILL');
      await first.ended;
      return killAt - 1;
    }
    assert.equal(outcome, 'SIGKILL', `before step ${killAt}: ${JSON.stringify(first.journal.lines)}`);
    const { agent, journal } = await startFieldAgent(story.settings);
    await requireGood(story, journal, killAt);
    await agent.stop();
  }
}

test('renewal: killed before every step, and started again, it ends with new keys and with nothing lost', async () => {
  const kills = await cutEverywhere(
    async (killAt) => {
      const device = `ms-acc-1/acc-1/dev-${killAt}`;
      return prepare(device, await identityOfAge(vendor, device, aged));
    },
    (journal) => journal.until('former_keys.removed'),
    async ({ device, root }, journal, killAt) => {
      // Cut off behind the last step but one, it has nothing to do any more.
      if (currentOf(root) !== 'slot-a') await journal.until('former_keys.removed');
      assert.equal(currentOf(root), 'slot-a', `before step ${killAt}`);
      const count = reader.of(device).length;
      await reader.until(() => reader.of(device).length > count + 1);
      reader.requireWhole(device);
    },
  );
  // Three keys, the request, two roots, six files of certificates, the switch, and what is removed.
  assert.ok(kills >= 30, `killed ${kills} times`);
});

test('hand-over: killed before every step, and started again, the device ends in its new place', async () => {
  const kills = await cutEverywhere(
    async (killAt) => {
      const from = `ms-acc-1/acc-2/dev-${killAt}`;
      const root = await vendor.keyDirectory(from);
      await offerTransfer(vendor, from, `ms-acc-2/acc-1/dev-${killAt}`, root);
      return prepare(`ms-acc-2/acc-1/dev-${killAt}`, root);
    },
    (journal) => journal.until('hand_over.done'),
    async ({ device, root }, journal, killAt) => {
      // Cut off behind its confirmation, there are only the keys before to be removed.
      const ends = ['hand_over.done', 'former_keys.removed'];
      if (currentOf(root) !== 'slot-a') await Promise.race(ends.map((event) => journal.until(event)));
      assert.equal(currentOf(root), 'slot-a', `before step ${killAt}`);
      const count = reader.of(device).length;
      await reader.until(() => reader.of(device).length > count + 1);
      reader.requireWhole(device);
      const from = device.replace('ms-acc-2/acc-1', 'ms-acc-1/acc-2');
      if (reader.of(from).length > 0) reader.requireWhole(from);
    },
  );
  assert.ok(kills >= 30, `killed ${kills} times`);
});
