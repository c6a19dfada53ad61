/** `plombe broker --config FILE` carries; `check` says what a configuration would do, `aside` is what the upstream refused. */
import { Command } from 'commander';
import { asideCommand } from './broker/aside.ts';

export function brokerCommand(): Command {
  return (
    new Command('broker')
      .description(
        'Carries sealed messages and cannot read them; cascades to an upstream broker.\n\n' +
          'Runs until SIGINT or SIGTERM, which it answers by draining; the same signal again ends it at once.\n' +
          'SIGHUP reads the configuration again; renewed keys, certificates and CRLs it notices by itself.\n' +
          'Logs JSON lines on stdout.',
      )
      // Both the program and its subcommands have --config: what stands behind one of these is its own.
      .enablePositionalOptions()
      .option('--config <file>', 'configuration file (YAML); `plombe init` writes a commented one')
      .addCommand(checkCommand())
      .addCommand(asideCommand())
      .action(async ({ config }: { config?: string }, command: Command) => {
        if (config === undefined) command.error("error: required option '--config <file>' not specified");
        else await (await import('../broker/main.ts')).runBroker(config);
      })
  );
}

function checkCommand(): Command {
  return new Command('check')
    .description(
      'Prints every fault of a configuration, with status 1, or what is in force with it: also beside one that runs.',
    )
    .requiredOption('--config <file>', 'configuration file (YAML)')
    .action(async ({ config }: { config: string }) => {
      const { checkConfiguration } = await import('../broker/check-configuration.ts');
      process.stdout.write(checkConfiguration(config, Date.now()));
    });
}
