import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import test from 'node:test';
import { decodeSenmlCbor } from '../../domain/senml.ts';
import { cmapssColumns } from '../../device-agent/collector/cmapss.ts';
import { seededRandom } from '../../device-agent/collector/random.ts';
import { devicePath, masterAccount, openMessage, Site } from './site.ts';

const device = devicePath('ms-acc-1/acc-1/dev-1');
const cycles = 600;

/** Runs an agent in a process of its own; resolves with whether it came to its end before it was killed. */
async function runUntilKilled(configFile: string, shouldKill: () => boolean): Promise<boolean> {
  const program = path.resolve(import.meta.dirname, '../../device-agent/main.ts');
  const script = `const { runAgent } = await import(${JSON.stringify(program)}); await runAgent(${JSON.stringify(configFile)});`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.includes('"agent.started"')) void killWhen(child, shouldKill);
    if (line.includes('"collector.finished"')) child.kill('SIGTERM'); // from here on it drains
  }
  const [exitCode] = await exited;
  return exitCode === 0;
}

async function killWhen(child: ChildProcess, shouldKill: () => boolean): Promise<void> {
  while (child.exitCode === null && child.signalCode === null && !shouldKill()) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  child.kill('SIGKILL');
}

test('agent: killed again and again while it replays, every row arrives in one envelope and no other', async (context) => {
  const site = new Site(context);
  await site.startBroker();
  for (const name of [masterAccount, device]) await site.issue(name);
  const { received } = await site.reader(masterAccount, 'reader', [`${device}/snapshots`]);
  const rows = Array.from({ length: cycles }, (_, cycle) =>
    [1, cycle + 1, ...cmapssColumns.slice(2).map(() => String(cycle))].join(' '),
  );
  writeFileSync(path.join(site.folder, 'engine.txt'), rows.join('\n'));
  const configFile = path.join(site.folder, 'agent.json');
  const config = {
    broker: `127.0.0.1:${site.brokerPort}`,
    brokerName: masterAccount,
    data: './agent-data',
    recipients: [`./${masterAccount}/enc.chain.pem`],
    devices: [{ identity: `./${device}` }],
    outbox: { envelopesMax: 60 }, // so that it is still reading the file when it is killed
    replay: { file: './engine.txt', format: 'cmapss', speed: 'max', units: { 1: device } },
  };
  writeFileSync(configFile, JSON.stringify(config)); // JSON is YAML
  const random = seededRandom(99);
  let arrived = 0;
  const opener = site.opener(masterAccount, [device]);
  const cycleOf = new Map<number, number>();
  const digests = new Map<number, string>();
  const takeOne = async (): Promise<void> => {
    const { sequence = 0, digest, content } = openMessage(opener, await received.next('/snapshots'));
    const known = digests.get(sequence);
    assert.ok(
      known === undefined || known === digest.toString('hex'),
      `number ${sequence} has two envelopes`,
    );
    digests.set(sequence, digest.toString('hex'));
    const cycle = decodeSenmlCbor(device, content).readings.find(
      (reading) => reading.channel === 'counters.cycle',
    );
    cycleOf.set(sequence, Number(cycle?.value));
    arrived += 1;
  };
  const everythingArrived = (async () => {
    while (cycleOf.size < cycles) await takeOne();
  })();
  for (let runs = 0, finished = false; !finished; runs++) {
    assert.ok(runs < 50, 'it never finishes');
    const target = arrived + Math.floor(random() * 150);
    // When all of it is here, the agent is left alone to come to its end.
    finished = await runUntilKilled(configFile, () => arrived >= target && cycleOf.size < cycles);
  }
  await everythingArrived;
  assert.deepEqual(
    Array.from({ length: cycles }, (_, index) => cycleOf.get(index + 1)),
    Array.from({ length: cycles }, (_, index) => index + 1),
  );
});
