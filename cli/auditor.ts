/** `plombe auditor --config FILE` runs the customer's reader; `plombe auditor list` shows what left. */
import { Command } from 'commander';

export function auditorCommand(): Command {
  return new Command('auditor')
    .description("The customer's own reader: opens, checks and records everything that leaves.")
    .option('--config <file>', 'configuration file (YAML); runs until SIGINT or SIGTERM')
    .action(async (options: { config?: string }, command: Command) => {
      if (options.config === undefined) command.error('error: --config FILE is required', { exitCode: 2 });
      else await (await import('../auditor/main.ts')).runAuditor(options.config);
    });
}
