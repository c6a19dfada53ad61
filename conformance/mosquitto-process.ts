/**
 * Stands in for the `mosquitto` program in its own test suite: takes its command line, and starts our broker with what of
 * the configuration can be translated. Where something cannot, it says so to the runner and ends.
 */
import { createHash } from 'node:crypto';
import { appendFileSync, mkdtempSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { openDoor } from './door.ts';
import type { Door } from './door.ts';
import { readOptions, translateConfig } from './mosquitto-config.ts';
import { mosquittoDialect } from './mosquitto-dialect.ts';
import { identityOf, startSiteBroker } from './site.ts';

/** As for a broker that could not be started. */
const notApplicable = 3;
const takenFlags = new Set(['-v', '-d', '-q']);

function optionsOf(args: readonly string[]): { options: [string, string][]; unknown: string[] } {
  const options: [string, string][] = [];
  const unknown: string[] = [];
  for (let index = 0; index < args.length; index++) {
    const argument = args[index] ?? '';
    const value = args[index + 1] ?? '';
    if (takenFlags.has(argument)) continue;
    index++;
    if (argument === '-c' || argument === '--config-file')
      options.push(...readOptions(readFileSync(value, 'utf8')));
    else if (argument !== '-p') unknown.push(argument);
    // A file that has its listeners needs no default one, and the suite passes the port all the same.
    else if (!options.some(([key]) => key === 'listener')) options.push(['port', value]);
  }
  return { options, unknown };
}

function required(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set: the conformance runner starts this program`);
  return value;
}

async function main(): Promise<void> {
  const site = required('PLOMBE_CONFORMANCE_SITE');
  const testData = required('PLOMBE_CONFORMANCE_DATA');
  const { options, unknown } = optionsOf(process.argv.slice(2));
  const { ports, limits, persistence, untranslatable } = translateConfig(
    options,
    required('PLOMBE_CONFORMANCE_VERSION') === '5' ? 5 : 3,
  );
  const reasons = [...unknown, ...untranslatable];
  if (reasons.length > 0) {
    appendFileSync(required('PLOMBE_CONFORMANCE_REPORT'), `${reasons.join('\n')}\n`);
    process.exit(notApplicable);
  }
  const data =
    persistence === undefined
      ? mkdtempSync(path.join(testData, 'fresh-'))
      : path.join(testData, createHash('sha256').update(persistence).digest('hex').slice(0, 16));
  const broker = await startSiteBroker(site, data, { limits }, (line) => process.stderr.write(line));
  const identity = identityOf(site, 'everything');
  const doors: Door[] = [];
  const stop = async (): Promise<never> => {
    await Promise.all(doors.map((door) => door.close()));
    await broker.stop();
    process.exit(0);
  };
  // Before the doors are open, for some tests are over as soon as they are.
  process.once('SIGTERM', () => void stop());
  process.once('SIGINT', () => void stop());
  process.on('SIGHUP', () => undefined);
  for (const port of new Set(ports)) {
    doors.push(await openDoor({ brokerPort: broker.port, identity, port, dialect: mosquittoDialect }));
  }
}

await main();
