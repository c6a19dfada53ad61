/** `npm run conformance -- paho|mosquitto`: runs a suite that nobody here wrote against our broker (docs/conformance.md). */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { checkOut } from './checkout.ts';
import { runMosquitto } from './mosquitto.ts';
import { runPaho } from './paho.ts';
import { makeSite, removeSite } from './site.ts';
import type { Verdict } from './verdict.ts';
import { printVerdicts } from './verdict.ts';

const usage = `usage: npm run conformance -- paho|mosquitto [--version 3|5] [--from REPOSITORY] [--commit COMMIT]
  [--only NAME] [--jobs N] [--output DIRECTORY]
  --version     3: MQTT 3.1.1 (default), 5: MQTT 5
  --from        clones this repository instead of the one on the network
  --only        runs the tests whose name contains NAME
  --jobs        tests at a time, of mosquitto (default 2)
  --output      a file for each test, with all that it printed`;

async function main(): Promise<number> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      version: { type: 'string', default: '3' },
      from: { type: 'string' },
      commit: { type: 'string' },
      only: { type: 'string', default: '' },
      jobs: { type: 'string', default: '2' },
      output: { type: 'string' },
    },
  });
  const [name] = positionals;
  const version = values.version === '3' ? 3 : values.version === '5' ? 5 : undefined;
  if ((name !== 'paho' && name !== 'mosquitto') || version === undefined || positionals.length > 1) {
    console.error(usage);
    return 2;
  }
  const checkout = checkOut(name, values.from, values.commit);
  console.log(`${name} ${checkout.commit}, MQTT ${version === 3 ? '3.1.1' : '5'}\n`);
  const site = await makeSite();
  try {
    const verdicts = await (name === 'paho'
      ? runPaho(site, checkout, version, values.only)
      : runMosquitto(site, checkout, version, { only: values.only, jobs: Number(values.jobs) }));
    printVerdicts(verdicts);
    if (values.output !== undefined) writeOutputs(values.output, verdicts);
    return verdicts.some(({ outcome }) => outcome === 'failed') ? 1 : 0;
  } finally {
    removeSite(site);
  }
}

function writeOutputs(directory: string, verdicts: readonly Verdict[]): void {
  mkdirSync(directory, { recursive: true });
  for (const { test, output = '' } of verdicts) {
    writeFileSync(path.join(directory, `${test.replaceAll(/[^\w.-]/g, '_')}.txt`), output);
  }
}

process.exitCode = await main();
