/** Renewals and hand-overs that are cut off before a step on the disk, and what must be true once the device is on again. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { Journal } from '../../broker/fixture.ts';
import type { Vendor } from '../../registrar/fixture.ts';
import { script } from '../../system/process.ts';
import { aged, agentSettings, currentOf, identityOfAge, startFieldAgent } from './field.ts';
import type { FieldReader } from './field.ts';
import { PowerCut } from '../../registrar/power-cut.ts';
import { offerTransfer } from './transfer.ts';

export interface Field {
  readonly vendor: Vendor;
  readonly reader: FieldReader;
}

/** One device, in one directory. */
interface Story {
  readonly device: string;
  /** Who it was before, if it changes hands. */
  readonly from: string | undefined;
  readonly root: string;
  readonly settings: Record<string, unknown>;
}

export interface StoryKind {
  begin(field: Field, number: number): Promise<Story>;
  /** Logged when there is nothing left to cut. */
  readonly end: string;
  /** Logged, any of them, by a device that has done all. */
  readonly ends: readonly string[];
}

export const renewal: StoryKind = {
  async begin({ vendor }, number) {
    const device = `ms-acc-1/acc-1/dev-${number}`;
    const root = await identityOfAge(vendor, device, aged);
    return { device, from: undefined, root, settings: await agentSettings(vendor, root) };
  },
  end: 'former_keys.removed',
  ends: ['former_keys.removed'],
};

export const handOver: StoryKind = {
  async begin({ vendor }, number) {
    const from = `ms-acc-1/acc-2/dev-${number}`;
    const device = `ms-acc-2/acc-1/dev-${number}`;
    const root = await vendor.keyDirectory(from);
    await offerTransfer(vendor, from, device, root);
    return { device, from, root, settings: await agentSettings(vendor, root) };
  },
  end: 'hand_over.done',
  // Cut off behind its confirmation, there are only the keys before to be removed.
  ends: ['hand_over.done', 'former_keys.removed'],
};

/** @returns the device as it is found afterwards; undefined if it came to its end before that step */
export type Interruption = (kind: StoryKind, story: Story, at: number) => Promise<Story | undefined>;

/** What is left of the agents that lost their power, until they notice. */
const fading: Promise<unknown>[] = [];

export async function faded(): Promise<void> {
  await Promise.all(fading);
}

export const byPowerCut: Interruption = async ({ end }, story, at) => {
  const cut = new PowerCut(at);
  const journal = new Journal();
  const settings = { ...story.settings, drainSeconds: 0 };
  const started = cut.within(() => startFieldAgent(settings, { log: journal.log }));
  started.catch(() => undefined); // there was no power to start with
  const outcome = await Promise.race([cut.off, journal.until(end)]);
  cut.cut();
  fading.push(
    started.then(
      ({ agent }) => cut.within(() => agent.stop()),
      () => undefined,
    ),
  );
  return outcome === 'off' ? diskOf(story) : undefined;
};

/** Its files as they are now, for another agent: the first one still has them open. */
function diskOf({ root, settings, ...story }: Story): Story {
  const found = `${root}.found`;
  const data = `${found}.data`;
  cpSync(root, found, { recursive: true });
  const before = String(settings['data']);
  if (existsSync(before)) cpSync(before, data, { recursive: true });
  const devices = [settings['devices']]
    .flat()
    .map((device: unknown) => Object.assign({}, device, { identity: found }));
  return { ...story, root: found, settings: { ...settings, data, devices } };
}

/** @param directory - for its configuration */
export function byKill(directory: string): Interruption {
  return async ({ end }, story, at) => {
    const preload = path.resolve(import.meta.dirname, '../../registrar/killed-process.ts');
    const configFile = path.join(directory, 'agent.yaml');
    writeFileSync(configFile, JSON.stringify(story.settings)); // JSON is YAML
    const child = spawn(process.execPath, ['--import', preload, script, 'agent', '--config', configFile], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, KILL_AT: String(at) },
    });
    const journal = new Journal();
    createInterface({ input: child.stdout }).on('line', (line) => journal.add(line));
    const ended = once(child, 'exit').then(() => child.signalCode);
    const outcome = await Promise.race([ended, journal.until(end)]);
    child.kill('SIGKILL');
    await ended;
    if (typeof outcome === 'object' && outcome !== null) return undefined;
    assert.equal(outcome, 'SIGKILL', `before step ${at}: ${JSON.stringify(journal.lines)}`);
    return story;
  };
}

/**
 * Cuts a story off before a step, starts the device again, and requires that it has a working identity and that nothing is
 * lost of what it sealed.
 *
 * @returns whether there was such a step
 */
export async function interrupt(
  field: Field,
  kind: StoryKind,
  interruption: Interruption,
  { number, at }: { readonly number: number; readonly at: number },
): Promise<boolean> {
  const story = await interruption(kind, await kind.begin(field, number), at);
  if (story === undefined) return false;
  const { device, from, root, settings } = story;
  const { reader } = field;
  const { agent, journal } = await startFieldAgent(settings);
  if (currentOf(root) !== 'slot-a') await Promise.race(kind.ends.map((event) => journal.until(event)));
  assert.equal(currentOf(root), 'slot-a', `before step ${at}`);
  const count = reader.of(device).length;
  await reader.until(() => reader.of(device).length > count + 1);
  reader.requireWhole(device);
  if (from !== undefined && reader.of(from).length > 0) reader.requireWhole(from);
  await agent.stop();
  return true;
}
