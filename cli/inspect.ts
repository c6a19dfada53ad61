/** `plombe inspect`: shows what the envelope on standard input says about itself; no key is needed. */
import { Command } from 'commander';
import { describe } from '../cms/describe.ts';
import { CmsError } from '../cms/errors.ts';
import { inspect } from '../cms/inspect.ts';
import type { EnvelopeSummary } from '../cms/inspect.ts';
import { fileEnvelopeBytesMax } from '../cms/limits.ts';
import { readEnvelopeBytes } from './envelope-input.ts';
import { printable } from './print.ts';

/** As `plombe open` has it. */
const malformedStatus = 3;

export function inspectCommand(): Command {
  return new Command('inspect')
    .description('Shows the envelope on standard input, without opening it. Nothing of it is verified.')
    .option('--json', 'for programs: octets in hexadecimal, times in milliseconds')
    .action(show);
}

async function show(options: { readonly json?: true }): Promise<void> {
  const envelope = await readEnvelopeBytes();
  try {
    const summary = inspect(envelope, { envelopeBytesMax: fileEnvelopeBytesMax });
    process.stdout.write(
      options.json === true ? `${JSON.stringify(plainOf(summary), null, 2)}\n` : textOf(summary),
    );
  } catch (error) {
    if (!(error instanceof CmsError)) throw error;
    process.stderr.write(`plombe inspect: ${error.code}: ${error.message}\n`);
    process.exitCode = malformedStatus;
  }
}

function textOf(summary: EnvelopeSummary): string {
  const lines = describe(summary);
  const width = Math.max(...lines.map(([name]) => name.length)) + 2;
  // What comes from the envelope may hold control characters, which a terminal would obey.
  return lines.map(([name, text]) => `${name.padEnd(width)}${printable(text)}\n`).join('');
}

/** Buffers become hexadecimal. */
function plainOf(value: unknown): unknown {
  if (Buffer.isBuffer(value)) return value.toString('hex');
  if (Array.isArray(value)) return value.map(plainOf);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, plainOf(member)]));
}
