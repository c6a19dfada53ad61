/** `plombe broker aside`: what the upstream of a broker would not take, and what is to become of it. */
import { Command, InvalidArgumentError } from 'commander';
import { z } from 'zod';
import type { Decided } from '../../broker/cascade/asides.ts';
import { setAsideMax } from '../../broker/cascade/set-aside.ts';
import type { RefusedMessage } from '../../broker/cascade/up-store.ts';
import { askBroker } from '../../broker/commands/ask-broker.ts';
import type { Answer, Order, ShownMessage } from '../../broker/commands/order.ts';
import { filterCovers, isTopicFilter } from '../../domain/topic.ts';
import { loadConfig } from '../../runtime/config.ts';
import { writeFileAtomically } from '../../runtime/files.ts';
import { parseWhole } from '../arguments.ts';
import { print, printable } from '../print.ts';

interface ConfigOption {
  readonly config: string;
}

/** Which of them. */
interface Selection {
  readonly topic?: string;
  readonly reason?: string;
}

interface Choice extends ConfigOption, Selection {
  readonly all?: true;
}

const secretMode = 0o600;
const parseId = parseWhole(Number.MAX_SAFE_INTEGER);

export function asideCommand(): Command {
  return new Command('aside')
    .description(
      'Messages that the upstream of a running broker would not take: shows them, lets them go up again, or drops them.',
    )
    .addCommand(listCommand())
    .addCommand(showCommand())
    .addCommand(retryCommand())
    .addCommand(dropCommand())
    .addHelpText(
      'after',
      `
Each of them asks the broker itself, which runs meanwhile, over a socket in its data folder: on the same machine, as
the user that it runs as. Exit status 1 if it could not be asked, or if anything that was named was not done.

Examples:
  plombe broker aside list --config broker.yaml
  plombe broker aside show 17 --config broker.yaml --out envelope.der
  plombe broker aside retry --config broker.yaml --reason 0x87
  plombe broker aside drop --config broker.yaml 17 18`,
    );
}

function subcommand(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .requiredOption('--config <file>', "the broker's configuration file, which names its data folder");
}

function selecting(command: Command): Command {
  return command
    .option('--topic <filter>', 'only those of topics that this filter matches', parseFilter)
    .option('--reason <reason>', 'only those that were refused for this, such as 0x87 or packet_too_large');
}

function listCommand(): Command {
  return selecting(subcommand('list', 'Prints number, time, reason, bytes and topic of each, oldest first.'))
    .option('--json', 'print them as a JSON array')
    .action(async ({ config, json, ...selection }: ConfigOption & Selection & { json?: true }) => {
      const messages = await listed(dataOf(config), selection);
      print(json ? JSON.stringify(messages) : listText(messages));
    });
}

function showCommand(): Command {
  return subcommand('show', 'Prints all that is known of one.')
    .argument('<number>', 'as `list` prints it', parseId)
    .option('--out <file>', 'writes its payload, as `plombe inspect` and `plombe open` read it')
    .action(show);
}

function retryCommand(): Command {
  return choosing(subcommand('retry', 'Puts them back into the queue to the upstream, each to its place.'))
    .addHelpText(
      'after',
      `
Its place is before what came later of its topic and still waits. What of its topic has gone up meanwhile went before
it. One that was retained goes as retained only if nothing newer is. If the upstream refuses it again, it is set aside
again, with a new number.`,
    )
    .action((ids: number[], options: Choice) => decide('retry', ids, options));
}

function dropCommand(): Command {
  return choosing(
    subcommand('drop', 'Deletes them: they are lost, and show as gaps in the sequences of their devices.'),
  ).action((ids: number[], options: Choice) => decide('drop', ids, options));
}

function choosing(command: Command): Command {
  return selecting(command)
    .argument('[number...]', 'which, as `list` prints them', (text: string, before: number[] | undefined) => [
      ...(before ?? []),
      parseId(text),
    ])
    .option('--all', 'all of them');
}

function parseFilter(text: string): string {
  if (isTopicFilter(text)) return text;
  throw new InvalidArgumentError('Wanted a topic filter such as ms-acc-1/+/+/snapshots.');
}

async function show(id: number, { config, out }: ConfigOption & { readonly out?: string }): Promise<void> {
  const { message } = await ask(dataOf(config), { kind: 'show', id }, 'show');
  if (message === undefined) throw new Error(`${id} is not set aside`);
  if (out !== undefined) writeFileAtomically(out, Buffer.from(message.payload, 'base64'), secretMode);
  print(shownText(message));
}

async function decide(kind: 'retry' | 'drop', ids: readonly number[] = [], options: Choice): Promise<void> {
  const { config, all, topic, reason } = options;
  const isSelected = all === true || topic !== undefined || reason !== undefined;
  if (isSelected === ids.length > 0)
    throw new Error('wanted are numbers, or --topic, --reason, or --all: one or the other');
  const data = dataOf(config);
  const chosen = isSelected ? (await listed(data, options)).map(({ id }) => id) : [...new Set(ids)];
  if (chosen.length > setAsideMax) throw new Error(`at most ${setAsideMax} at once`);
  if (chosen.length === 0) return print('Nothing of that kind is set aside.');
  const { messages } = await ask(data, { kind, ids: chosen }, 'decided');
  for (const text of undoneTexts(messages)) print(text);
  const done = messages.filter(({ outcome }) => outcome === 'queued' || outcome === 'dropped').length;
  print(`${done} ${kind === 'retry' ? 'wait for the upstream again' : 'dropped'}.`);
  if (done < messages.length) process.exitCode = 1;
}

/** @returns oldest first */
async function listed(data: string, { topic, reason }: Selection): Promise<RefusedMessage[]> {
  const { messages } = await ask(data, { kind: 'list' }, 'list');
  return messages
    .filter((message) => topic === undefined || filterCovers(topic, message.topic))
    .filter((message) => reason === undefined || message.reason === reason)
    .toReversed();
}

async function ask<Kind extends Answer['kind']>(
  data: string,
  order: Order,
  wanted: Kind,
): Promise<Extract<Answer, { kind: Kind }>> {
  const answer = await askBroker(data, order);
  if (answer.kind === 'unavailable') throw new Error(answer.reason);
  if (answer.kind !== wanted) throw new Error(`the broker is of another version: it answers ${answer.kind}`);
  return answer as Extract<Answer, { kind: Kind }>;
}

/** Its data folder alone, for what else is in the file may be of no concern to whoever asks. */
function dataOf(configFile: string): string {
  return loadConfig(configFile, (types) => z.looseObject({ data: types.path })).data;
}

function listText(messages: readonly RefusedMessage[]): string {
  const rows = messages.map(({ id, refusedMs, reason, bytes, topic }) => [
    String(id),
    timeText(refusedMs),
    reason,
    String(bytes),
    printable(topic), // a publisher chose it, and a terminal would obey what is in it
  ]);
  const widths = [0, 1, 2, 3].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '));
  return [...lines, `${messages.length} messages are set aside.`].join('\n');
}

function shownText(message: ShownMessage): string {
  const { id, topic, bytes, reason, retain, queuedMs, refusedMs, expiresMs, payload } = message;
  const rows = [
    ['topic', printable(topic)],
    ['reason', reason],
    ['set aside', timeText(refusedMs)],
    ['came', timeText(queuedMs)],
    ['expires', expiresMs === undefined ? 'never' : timeText(expiresMs)],
    ['retained', retain ? 'yes' : 'no'],
    ['payload', `${Buffer.byteLength(payload, 'base64')} bytes, ${bytes} with all that belongs to it`],
  ];
  return [`${id}`, ...rows.map(([label = '', value]) => `  ${label.padEnd(10)} ${value}`)].join('\n');
}

function timeText(ms: number): string {
  return new Date(ms).toISOString();
}

const undone: Readonly<Record<Exclude<Decided['outcome'], 'queued' | 'dropped'>, string>> = {
  unknown: 'not set aside',
  expired: 'has expired: nobody wants it any more',
  too_old: 'has waited longer than cascade.queue.ageHoursMax allows',
  queue_full: 'does not fit into the queue to the upstream',
};

function undoneTexts(messages: readonly Decided[]): string[] {
  return messages.flatMap(({ id, outcome }) =>
    outcome === 'queued' || outcome === 'dropped' ? [] : [`${id}: ${undone[outcome]}`],
  );
}
