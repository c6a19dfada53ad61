/** `plombe open` on every fixture, for every recipient. */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import test, { after } from 'node:test';
import { CmsError } from '../../../cms/errors.ts';
import { createOpener } from '../../../cms/open.ts';
import { originatorsOf } from '../../../cms/originator.ts';
import { fixtureOriginator, fixtureRecipient, fixtures, fixturesFolder, readFixture } from '../fixtures.ts';
import type { Fixture } from '../fixtures.ts';
import type { CommandResult, CommandRun } from './plombe-process.ts';

const plombe = fork(path.join(import.meta.dirname, 'plombe-process.ts'), { serialization: 'advanced' });
after(() => plombe.disconnect());
const ended = new AbortController();
plombe.once('exit', () => ended.abort());

async function run(asked: CommandRun): Promise<CommandResult> {
  plombe.send(asked);
  const [answer] = (await once(plombe, 'message', { signal: ended.signal })) as [
    Omit<CommandResult, 'stdout'> & { stdout: Uint8Array },
  ];
  return { ...answer, stdout: Buffer.from(answer.stdout) };
}

/** As the command's help has it. */
const statuses: Readonly<Record<string, number>> = {
  opened: 0,
  'cms.malformed': 3,
  'cms.unsupported': 3,
  'cms.not_a_recipient': 4,
  'cms.untrusted_originator': 5,
  'cms.rejected': 5,
};

type Recipient = Fixture['recipients'][number];

function argsFor(fixture: Fixture, recipient: Recipient): readonly string[] {
  const file = (name: string) => path.join(fixturesFolder, name);
  return [
    'open',
    '--allow-unsigned',
    '--enc-key',
    file(recipient.key),
    '--enc-cert',
    file(recipient.cert),
    ...fixture.trustedOriginators.flatMap((name) => ['--originator', file(name)]),
  ];
}

/** What the library says; `fixtures.test.ts` holds that against the manifest, reason by reason. */
function outcomeOf(fixture: Fixture, recipient: Recipient): string {
  try {
    createOpener({
      recipient: fixtureRecipient(recipient),
      originators: originatorsOf(fixture.trustedOriginators.map(fixtureOriginator)),
      policy: { allowUnsigned: true, kdfFlavours: ['rfc5753', 'bc'] },
    }).open(readFixture(fixture.file));
    return 'opened';
  } catch (error) {
    if (!(error instanceof CmsError)) throw error;
    return error.code;
  }
}

for (const fixture of fixtures) {
  test(`plombe open: fixture ${fixture.id}, ${fixture.expect}, ${fixture.recipients.length} recipients`, async () => {
    const input = readFixture(fixture.file);
    for (const recipient of fixture.recipients) {
      const { status, stdout, stderr } = await run({ args: argsFor(fixture, recipient), input });
      const outcome = outcomeOf(fixture, recipient);
      assert.equal(status, statuses[outcome], `${recipient.name}: ${outcome}, ${stderr}`);
      if (fixture.expect !== 'either') assert.equal(status === 0, fixture.expect === 'accept');
      if (status === 0) {
        assert.deepEqual(stdout, readFixture(fixture.plaintextFile));
        assert.equal(stderr, '');
      } else {
        assert.equal(stdout.length, 0);
        assert.match(stderr, new RegExp(`^plombe open: ${outcome}: [^\\n]+\\n$`));
      }
    }
  });
}

for (const fixture of fixtures.filter(({ group }) => group === 'openssl')) {
  test(`plombe open: fixture ${fixture.id}, if told to allow an anonymous originator`, async () => {
    for (const recipient of fixture.recipients) {
      const args = [...argsFor(fixture, recipient), '--allow-anonymous'];
      const { status, stdout } = await run({ args, input: readFixture(fixture.file) });
      assert.equal(status, 0);
      assert.deepEqual(stdout, readFixture(fixture.plaintextFile));
    }
  });
}
