import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import * as fc from 'fast-check';
import type { Site } from '../fixture.ts';
import { Journal, openSite } from '../fixture.ts';
import { MemoryBroker } from '../memory-broker.ts';
import type { Step } from './histories.ts';
import { cast, history, roleTables } from './histories.ts';
import type { House } from './play.ts';
import { Play } from './play.ts';

let site: Site;
before(() => void (site = openSite()));
after(() => site.remove());

const waitMs = 100_000;
let histories = 0;

interface Lodging extends House {
  close(): Promise<void>;
}

const settingsOf = (data: string, table: number): Record<string, unknown> => ({
  data,
  deniedPublish: 'drop',
  roles: roleTables[table] ?? {},
});

/** Without TLS, so that there is time for many histories. */
async function inMemory(): Promise<Lodging> {
  const data = path.join(site.directory, `memory-${histories++}`);
  let nowMs = Date.now();
  const surroundings = { log: new Journal().log, clock: () => nowMs };
  let broker = new MemoryBroker(site, await site.config(settingsOf(data, 0)), surroundings);
  return {
    connect: (identity, version) => broker.connect(identity, version),
    changeRights: async (table, how) => {
      const config = await site.config(settingsOf(data, table));
      if (how === 'reload') return broker.reload(config);
      await broker.stop();
      broker = new MemoryBroker(site, config, surroundings);
      return undefined;
    },
    wait: async () => {
      nowMs += waitMs;
      broker.sweep();
    },
    close: () => broker.stop(),
  };
}

/** The whole broker. Wills with a delay never come, for its sweeps are its own. */
async function overTls(): Promise<Lodging> {
  const data = path.join(site.directory, `tls-${histories++}`);
  let { broker } = await site.start(settingsOf(data, 0));
  return {
    connect: (identity, version) => site.rawConnect(broker, identity, version),
    changeRights: async (table, how) => {
      const settings = settingsOf(data, table);
      if (how === 'reload') {
        const config = await site.config(settings);
        assert(broker.reload(() => config));
        return;
      }
      await site.stop(broker);
      ({ broker } = await site.start(settings));
    },
    wait: () => Promise.resolve(),
    close: () => site.stop(broker),
  };
}

async function explore(
  open: () => Promise<Lodging>,
  numRuns: number,
  isPlayed: (one: Step) => boolean,
): Promise<void> {
  let delivered = 0;
  let denied = 0;
  await fc.assert(
    fc.asyncProperty(cast, history, async (who, steps) => {
      const lodging = await open();
      try {
        const play = new Play(lodging, who);
        await play.run(steps.filter(isPlayed));
        delivered += play.seen.delivered;
        denied += play.seen.denied;
      } finally {
        await lodging.close();
      }
    }),
    // The same histories each time: that one fails is news of the code, not of the dice.
    { numRuns, seed: 877_021_538 },
  );
  // Silence would pass as well.
  assert.ok(delivered > numRuns && denied > numRuns, `${delivered} delivered, ${denied} denied`);
}

test('access: whatever happens, everybody gets what he is owed and nothing else', async () => {
  await explore(inMemory, 50, () => true);
});

test('access: the same over TLS', async () => {
  await explore(overTls, 5, ({ kind }) => kind !== 'wait');
});
