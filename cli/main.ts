/** The `plombe` command: finds the subcommand's file, runs it, and turns every failure into one line and an exit status. */
import { Command, CommanderError } from 'commander';
import { startErrorText } from '../runtime/shutdown.ts';
import { packageVersion } from '../runtime/version.ts';
import './closed-output.ts';

/** Wrong use of the command line; a failure of the work itself is 1. */
const wrongUseStatus = 2;

/** Loaded only when asked for: `plombe seal` need not load a broker, and `plombe --help` loads them all. */
const subcommands: Readonly<Record<string, () => Promise<Command>>> = {
  demo: async () => (await import('./demo.ts')).demoCommand(),
  init: async () => (await import('./init.ts')).initCommand(),
  pki: async () => (await import('./pki.ts')).pkiCommand(),
  device: async () => (await import('./device.ts')).deviceCommand(),
  broker: async () => (await import('./broker.ts')).brokerCommand(),
  agent: async () => (await import('./programs.ts')).agentCommand(),
  backend: async () => (await import('./programs.ts')).backendCommand(),
  bpm: async () => (await import('./programs.ts')).bpmCommand(),
  registrar: async () => (await import('./programs.ts')).registrarCommand(),
  auditor: async () => (await import('./auditor.ts')).auditorCommand(),
  audit: async () => (await import('./audit.ts')).auditCommand(),
  policy: async () => (await import('./policy.ts')).policyCommand(),
  db: async () => (await import('./db.ts')).dbCommand(),
  user: async () => (await import('./user.ts')).userCommand(),
  seal: async () => (await import('./seal.ts')).sealCommand(),
  open: async () => (await import('./open.ts')).openCommand(),
  inspect: async () => (await import('./inspect.ts')).inspectCommand(),
  tacs: async () => (await import('./tacs.ts')).tacsCommand(),
};

async function main(args: readonly string[]): Promise<void> {
  const program = new Command('plombe')
    .description(
      'Industrial telemetry, sealed end to end: brokers carry it and cannot read it; its owner decides.',
    )
    .version(packageVersion(), '-V, --version')
    .showHelpAfterError('(see plombe --help)')
    // A command and its subcommand may have options of the same name.
    .enablePositionalOptions()
    .exitOverride();
  const asked = subcommands[args[0] ?? ''];
  const loaders = asked ? [asked] : Object.values(subcommands);
  for (const load of loaders) program.addCommand(throwing(await load()));
  if (args.length === 0) return void process.stdout.write(program.helpInformation());
  await program.parseAsync([...args], { from: 'user' });
}

/** `exitOverride` is not inherited by commands that were made elsewhere. */
function throwing(command: Command, parent = 'plombe'): Command {
  const name = `${parent} ${command.name()}`;
  command.exitOverride().showHelpAfterError(`(see ${name} --help)`);
  for (const subcommand of command.commands) throwing(subcommand, name);
  return command;
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : wrongUseStatus;
  } else {
    process.stderr.write(`plombe: ${startErrorText(error)}\n`);
    if (process.env['PLOMBE_TRACE'] && error instanceof Error)
      process.stderr.write(`${String(error.stack)}\n`);
    process.exitCode = 1;
  }
}
