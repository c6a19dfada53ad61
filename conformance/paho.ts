/** Eclipse paho.mqtt.testing: its interoperability tests, against our broker behind a plain TCP door. */
import { readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import type { Checkout } from './checkout.ts';
import { openDoor } from './door.ts';
import { runPython } from './run-python.ts';
import { identityOf, startSiteBroker } from './site.ts';
import type { Visitor } from './site.ts';
import type { Verdict } from './verdict.ts';

const files = { 3: 'client_test.py', 5: 'client_test5.py' } as const;
const deadlineMs = 120_000;

/** The scripts read their arguments twice, and the second time stumble over the port. */
const driver = `
import runpy, sys, unittest
name = sys.argv.pop()
main = unittest.main
unittest.main = lambda: main(argv=['test', name])
runpy.run_path(sys.argv[1], run_name='__main__')
`;

/** Not collected by the suite's own run, for its name does not begin with \`test\`. */
const uncollected = { 3: ['will_message_test'], 5: [] } as const;

/** What the suite checks and the standard leaves open, where ours chose otherwise. */
const choices: Readonly<Record<string, string>> = {
  '5 test_subscribe_failure':
    'its client takes 0x80 alone for a refusal; MQTT 5 §3.9.3 has 0x87, not authorized',
  '5 test_dollar_topics':
    'publishes to a topic that begins with $, which ours refuses with 0x87; the test says to omit it then',
};

/** @param only - run those whose name contains it */
export async function runPaho(
  site: string,
  { directory }: Checkout,
  version: 3 | 5,
  only: string,
): Promise<Verdict[]> {
  const folder = path.join(directory, 'interoperability');
  const script = files[version];
  const names = [
    ...readFileSync(path.join(folder, script), 'utf8').matchAll(/^ {4}def (test\w+)\(self/gm),
  ].map((match) => match[1] ?? '');
  const verdicts: Verdict[] = [];
  for (const name of [...names, ...uncollected[version]].filter((candidate) => candidate.includes(only))) {
    const { passed, output } = await runOne(site, folder, script, name);
    const choice = passed ? undefined : choices[`${version} ${name}`];
    verdicts.push({
      test: name,
      outcome: passed ? 'passed' : choice === undefined ? 'failed' : 'other choice',
      remark: choice ?? remarkOf(passed, output),
      output,
    });
  }
  return verdicts;
}

async function runOne(
  site: string,
  folder: string,
  script: string,
  name: string,
): Promise<{ passed: boolean; output: string }> {
  const data = path.join(site, 'data');
  const log: string[] = [];
  // test_server_keep_alive asks for 120 s and wants to hear that it is 60.
  const broker = await startSiteBroker(site, data, { limits: { keepAliveSecondsMax: 60 } }, (line) =>
    log.push(line),
  );
  const visitor: Visitor = name === 'test_subscribe_failure' ? 'restricted' : 'everything';
  const door = await openDoor({ brokerPort: broker.port, identity: identityOf(site, visitor), port: 0 });
  try {
    const { passed, output } = await runPython({
      directory: folder,
      args: ['-c', driver, script, '--hostname', '127.0.0.1', '-p', String(door.port), `Test.${name}`],
      deadlineMs,
    });
    // Its usage too ends with the status of a success.
    return { passed: passed && output.includes('Ran 1 test'), output: `${output}\n${log.join('')}` };
  } finally {
    await door.close();
    await broker.stop();
    rmSync(data, { recursive: true, force: true });
  }
}

/** @returns the last line of the traceback */
function remarkOf(passed: boolean, output: string): string | undefined {
  if (passed) return undefined;
  return output.split('\n').findLast((line) => /^\w*(Error|Exception)/.test(line)) ?? 'no reason given';
}
