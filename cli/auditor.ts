/** `plombe auditor --config FILE` runs the customer's reader; `list` shows what left, `user` is who may look at its page. */
import { Command, InvalidArgumentError } from 'commander';
import { z } from 'zod';
import { auditorListing, entryToJson, listingText } from '../auditor/list.ts';
import { parseNamespacePath } from '../domain/namespace.ts';
import { loadConfig } from '../runtime/config.ts';
import { parseWhole } from './arguments.ts';
import { auditorUserCommand } from './auditor-user.ts';

interface ListOptions {
  readonly config: string;
  readonly json?: true;
  readonly alarms?: true;
  readonly device?: string;
  readonly last: number;
}

const lastDefault = 100;
const lastMax = 1_000_000;

export function auditorCommand(): Command {
  return (
    new Command('auditor')
      .description(
        "The customer's own reader: opens, checks and records everything that leaves.\n\n" +
          'Runs until SIGINT or SIGTERM. Logs JSON lines on stdout.',
      )
      // Both the program and `list` have --config: what stands behind `list` is its own.
      .enablePositionalOptions()
      .option('--config <file>', 'configuration file (YAML); `plombe init` writes a commented one')
      .addCommand(listCommand())
      .addCommand(auditorUserCommand())
      .action(async ({ config }: { config?: string }, command: Command) => {
        if (config === undefined) command.error("error: required option '--config <file>' not specified");
        else await (await import('../auditor/main.ts')).runAuditor(config);
      })
  );
}

function listCommand(): Command {
  return new Command('list')
    .description('Prints what left, oldest first, also while the auditor runs.')
    .requiredOption('--config <file>', "the auditor's configuration file, which names the record")
    .option('--json', 'print {totals, entries} as one JSON object')
    .option('--alarms', 'only what is not right')
    .option('--device <path>', 'only this device, or what lies within this account', parseWithin)
    .option('--last <n>', 'the newest so many', parseWhole(lastMax), lastDefault)
    .action(list);
}

function list(options: ListOptions): void {
  // The record alone, so that somebody who may not read the keys can list it.
  const { data } = loadConfig(options.config, (types) => z.looseObject({ data: types.path }));
  const { totals, entries } = auditorListing(data, {
    entriesMax: options.last,
    alarmsOnly: options.alarms === true,
    ...(options.device === undefined ? {} : { within: options.device }),
  });
  const text = options.json
    ? JSON.stringify({ totals, entries: entries.map(entryToJson) })
    : listingText({ totals, entries });
  process.stdout.write(`${text}\n`);
}

function parseWithin(text: string): string {
  if (parseNamespacePath(text) !== undefined) return text;
  throw new InvalidArgumentError('Wanted a namespace path such as ms-acc-1/acc-1/dev-1.');
}
