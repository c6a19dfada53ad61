/** `plombe device outbox`: what waits in an agent's outbox, and takes out what nobody is left to deliver. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { Command } from 'commander';
import { openOutboxStore, OutboxError } from '../../device-agent/outbox-store.ts';
import type { OutboxStore } from '../../device-agent/outbox-store.ts';
import { writeFileAtomically } from '../../runtime/files.ts';
import { print } from '../print.ts';

interface OutboxOptions {
  readonly data: string;
  readonly of?: string;
  readonly out?: string;
  readonly remove?: boolean;
}

const secretMode = 0o600;
const sequenceDigits = 10;
/** Written before the next ones are read. */
const batchMax = 100;

export function outboxCommand(): Command {
  return new Command('outbox')
    .description(
      'Shows what waits in an outbox, and writes it to files: such as what a device left behind when it changed hands.',
    )
    .requiredOption('--data <directory>', "`data` of the agent's configuration; the agent must be stopped")
    .option('--of <path>', 'whose envelopes to write')
    .option('--out <directory>', 'where to: one file each, as `plombe open` and `plombe inspect` read it')
    .option('--remove', 'take what was written out of the outbox')
    .addHelpText(
      'after',
      `
Example:
  plombe device outbox --data data/agent
  plombe device outbox --data data/agent --of ms-acc-1/acc-1/dev-1 --out left-behind --remove`,
    )
    .action(run);
}

function run({ data, of, out, remove = false }: OutboxOptions): void {
  if ((of === undefined) !== (out === undefined)) throw new Error('--of and --out belong together');
  if (remove && out === undefined) throw new Error('--remove needs --out: nothing is thrown away');
  const file = path.join(data, 'outbox.sqlite');
  if (!existsSync(file)) throw new OutboxError('outbox.storage', `${data} holds no outbox`);
  const store = openOutboxStore(file);
  try {
    if (of === undefined || out === undefined) print(listText(store));
    else print(`${of}: ${writeAll(store, { of, out, remove })} envelopes written to ${out}`);
  } finally {
    store.close();
  }
}

function listText(store: OutboxStore): string {
  const devices = store.devices();
  const width = Math.max(...devices.map(({ path: device }) => device.length));
  return devices.map(({ path: device, pending }) => `${device.padEnd(width)}  ${pending}`).join('\n');
}

/** @returns how many */
function writeAll(
  store: OutboxStore,
  { of, out, remove }: { readonly of: string; readonly out: string; readonly remove: boolean },
): number {
  const device = store.devices().find(({ path: name }) => name === of);
  if (device === undefined) throw new OutboxError('outbox.storage', `nothing of ${of} was ever in it`);
  let written = 0;
  for (let last = 0; ;) {
    const batch = store.envelopesAfter(device.id, last, batchMax);
    for (const { sequence, topicName, envelope } of batch) {
      const kind = topicName === 'snapshots' ? 'snapshot' : 'result';
      const name = `${String(sequence).padStart(sequenceDigits, '0')}.${kind}.der`;
      writeFileAtomically(path.join(out, ...of.split('/'), name), envelope, secretMode);
    }
    if (remove) {
      store.transaction(() => batch.forEach(({ sequence }) => store.removeEnvelope(device.id, sequence)));
    }
    written += batch.length;
    const end = batch.at(-1);
    if (end === undefined) return written;
    last = end.sequence;
  }
}
