import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { plombe } from '../system/process.ts';

const wanted = [
  'demo',
  'init',
  'pki',
  'pki init',
  'pki issue',
  'pki request',
  'pki revoke',
  'pki crl',
  'pki show',
  'pki sign',
  'pki verify',
  'device',
  'device invite',
  'device enrol',
  'device approve',
  'device transfer',
  'device transfer release',
  'device transfer accept',
  'device transfer approve',
  'device transfer show',
  'device outbox',
  'device show',
  'broker',
  'broker check',
  'broker aside',
  'broker aside list',
  'broker aside show',
  'broker aside retry',
  'broker aside drop',
  'agent',
  'backend',
  'bpm',
  'registrar',
  'auditor',
  'auditor list',
  'auditor user',
  'auditor user add',
  'auditor user list',
  'auditor user passwd',
  'auditor user remove',
  'audit',
  'audit verify',
  'audit prove',
  'audit consistency',
  'audit check-proof',
  'policy',
  'policy check',
  'policy sign',
  'policy publish',
  'policy show',
  'policy explain',
  'db',
  'db backup',
  'db restore',
  'db check',
  'db migrate',
  'db copy',
  'user',
  'user add',
  'user list',
  'user passwd',
  'user remove',
  'seal',
  'open',
  'inspect',
  'tacs',
  'tacs check',
  'tacs export',
];

/** The commands that a help text lists, each with whether it says what the command does. */
function listedIn(help: string): { readonly name: string; readonly described: boolean }[] {
  const lines = (help.split('\nCommands:\n')[1] ?? '').split(/\n\n/, 1)[0]?.split('\n') ?? [];
  return lines.flatMap((line) => {
    const match = /^ {2}([a-z-]+)(?: [[<]\S*)*( {2,}\S.*)?$/.exec(line);
    if (match?.[1] === undefined || match[1] === 'help') return [];
    return [{ name: match[1], described: match[2] !== undefined }];
  });
}

test('plombe --help: every command and subcommand says what it is for, and exits 0', async () => {
  const found: string[] = [];
  const visit = async (command: readonly string[]): Promise<void> => {
    const { status, stdout, stderr } = await plombe(...command, '--help');
    assert.deepEqual([status, stderr], [0, ''], `${command.join(' ')} --help`);
    assert.ok(stdout.startsWith(`Usage: ${['plombe', ...command].join(' ')}`), stdout);
    for (const { name, described } of listedIn(stdout)) {
      const subcommand = [...command, name];
      assert.ok(described, `${subcommand.join(' ')} has a description`);
      found.push(subcommand.join(' '));
      await visit(subcommand);
    }
  };
  await visit([]);
  assert.deepEqual(found.toSorted(), wanted.toSorted());
});

test('plombe --version: prints the version of the package', async () => {
  const text = readFileSync(path.resolve(import.meta.dirname, '../../package.json'), 'utf8');
  const { version } = JSON.parse(text) as { version: string };
  for (const flag of ['--version', '-V']) {
    assert.deepEqual(await plombe(flag), { status: 0, stdout: `${version}\n`, stderr: '' });
  }
});

for (const [what, args, says] of [
  ['an unknown command', ['brokr'], /unknown command 'brokr'/],
  ['an unknown subcommand', ['pki', 'isue'], /unknown command 'isue'/],
  ['a command that needs a subcommand', ['pki'], /Usage: plombe pki/],
  ['an unknown option', ['demo', '--fro', '3'], /unknown option '--fro'/],
  ['an option without its value', ['broker', '--config'], /argument missing/],
  ['an argument too many', ['inspect', 'envelope.der'], /too many arguments/],
  ['a missing argument', ['init'], /missing required argument 'dir'/],
  ['a value out of range', ['demo', '--for', '-1'], /wanted a number above 0/],
  ['a choice that is none', ['demo', '--format', 'xml'], /Allowed choices are cmapss, csv/],
  ...['broker', 'agent', 'backend', 'bpm', 'registrar', 'auditor'].map(
    (program) => [`${program} without --config`, [program], /required option '--config <file>'/] as const,
  ),
] as const) {
  test(`plombe: ${what} is wrong use: exit status 2, and nothing on stdout`, async () => {
    const { status, stdout, stderr } = await plombe(...args);
    assert.deepEqual([status, stdout], [2, '']);
    assert.match(stderr, says);
    assert.doesNotMatch(stderr, /\n {4}at /, 'no stack');
  });
}
