/** `plombe demo`: the whole system on this machine, with real keys, real processes and believable data. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import type { DemoOptions } from './demo/run.ts';
import { runDemo } from './demo/run.ts';
import { isClean, summaryText } from './demo/summary.ts';

interface Options {
  readonly dir?: string;
  readonly for?: number;
  readonly json?: boolean;
  readonly replay?: string;
  readonly format: 'cmapss' | 'csv';
  readonly speed: number | 'max';
  readonly deviceType: string;
  readonly timeColumn?: string;
  readonly deviceColumn?: string;
}

export function demoCommand(): Command {
  return new Command('demo')
    .description(
      'Starts a vendor broker, two customer brokers cascaded into it, six device agents, auditors, a backend\n' +
        'with its dashboard, the workflow engine, and the registrar, each as a process, and shows what happens.',
    )
    .option('--for <seconds>', 'stop by itself so long after everything runs, and print a summary', positive)
    .option('--json', 'print the summary as one JSON object on the last line of stdout')
    .option('--dir <dir>', 'keep keys, data and logs there (default: a temporary folder, removed afterwards)')
    .option('--replay <file>', 'play a recording instead of the simulator; ends when all of it is stored')
    .addOption(
      new Option('--format <format>', 'of the recording').choices(['cmapss', 'csv']).default('cmapss'),
    )
    .option('--speed <n>', 'snapshots per second and device, or max', speed, 'max' as const)
    .option('--device-type <type>', 'CSV: the type of the devices', 'CSV')
    .option('--time-column <header>', 'CSV: the column with the time')
    .option('--device-column <header>', 'CSV: the column that names the device')
    .addHelpText(
      'after',
      `
Exit status: 0 if nothing was lost and nothing stored twice, 1 otherwise.

Examples:
  plombe demo
  plombe demo --for 30 --json
  plombe demo --replay train_FD001.txt.gz --format cmapss --speed 20`,
    )
    .action(demo);
}

async function demo(options: Options): Promise<void> {
  const summary = await runDemo(demoOptions(options));
  if (options.json) process.stdout.write(`${JSON.stringify(summary)}\n`);
  else process.stdout.write(summaryText(summary));
  process.exitCode = isClean(summary) ? 0 : 1;
}

function demoOptions(options: Options): DemoOptions {
  return {
    directory: options.dir === undefined ? undefined : path.resolve(options.dir),
    forSeconds: options.for,
    quiet: options.json ?? false,
    replay: options.replay === undefined ? undefined : replayOf(options, path.resolve(options.replay)),
  };
}

function replayOf(options: Options, file: string): NonNullable<DemoOptions['replay']> {
  if (!existsSync(file)) throw new Error(`cannot replay ${file}: no such file`);
  const { format, speed: pace, deviceType, timeColumn, deviceColumn } = options;
  if (format === 'cmapss') return { file, format, speed: pace };
  return {
    file,
    format,
    speed: pace,
    csv: {
      deviceType,
      ...(timeColumn === undefined ? {} : { timeColumn }),
      ...(deviceColumn === undefined ? {} : { deviceColumn }),
    },
  };
}

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0) throw new InvalidArgumentError('wanted a number above 0');
  return value;
}

function speed(text: string): number | 'max' {
  return text === 'max' ? text : positive(text);
}
