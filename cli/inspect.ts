/** `plombe inspect`: shows what the envelope on standard input says about itself; no key is needed. */
import { Command } from 'commander';
import { CmsError } from '../cms/errors.ts';
import type { CertificateIdentifier } from '../cms/identifier.ts';
import { inspect } from '../cms/inspect.ts';
import type { AgreementSummary, EnvelopeSummary } from '../cms/inspect.ts';
import { fileEnvelopeBytesMax } from '../cms/limits.ts';
import type { OriginatorIdentifier } from '../cms/recipient-info.ts';
import { readEnvelopeBytes } from './envelope-input.ts';

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
  const { info } = summary;
  const lines: [string, string | number | undefined][] = [
    [
      'form',
      summary.form === 'signed' ? 'SignedData over AuthEnvelopedData' : 'AuthEnvelopedData, not signed',
    ],
    [
      'size',
      `${summary.envelopeBytes} bytes, content ${summary.contentBytes} (${summary.contentEncryption})`,
    ],
    ['digest', summary.digest.toString('hex')],
    ['sealed at', timeText(summary.signingTimeMs)],
    ['topic', info?.topic],
    ['sequence', info?.sequence],
    ['previous', info === undefined ? undefined : (info.previousDigest?.toString('hex') ?? 'none')],
    ['content', info && `${info.contentType}, ${info.encoding}`],
    ...(info?.originatorHashes ?? []).map((hash): [string, string] => [
      'originator certificate',
      hash.toString('hex'),
    ]),
    ...summary.agreements.flatMap(agreementLines),
    ['other recipients', summary.otherRecipients || undefined],
    ...summary.signers.map(({ signer, algorithm, signingTimeMs }): [string, string] => [
      'signer',
      [`${identifierText(signer)} by ${algorithm}`, timeText(signingTimeMs)].filter(Boolean).join(', '),
    ]),
    ...summary.certificates.map((subject): [string, string] => ['certificate', subject]),
  ];
  const shown = lines.filter(([, value]) => value !== undefined);
  const width = Math.max(...shown.map(([name]) => name.length)) + 2;
  // What comes from the envelope may hold control characters, which a terminal would obey.
  return shown.map(([name, value]) => `${name.padEnd(width)}${printable(String(value))}\n`).join('');
}

function agreementLines(agreement: AgreementSummary): [string, string][] {
  const { originator, keyAgreement, keyWrap, recipients, kemRecipient } = agreement;
  const both = kemRecipient === undefined ? '' : ` and, by ML-KEM, ${identifierText(kemRecipient)}`;
  return [
    ['originator', `${identifierText(originator)} by ${keyAgreement}, ${keyWrap}`],
    ...recipients.map((recipient): [string, string] => ['recipient', `${identifierText(recipient)}${both}`]),
  ];
}

function identifierText(identifier: CertificateIdentifier | OriginatorIdentifier): string {
  if (identifier.kind === 'keyIdentifier') return `key ${identifier.keyIdentifier.toString('hex')}`;
  if (identifier.kind === 'publicKey') return `public key ${identifier.point.toString('hex')}`;
  return `serial number ${identifier.serialNumber.toString('hex')}`;
}

function timeText(timeMs: number | undefined): string | undefined {
  return timeMs === undefined ? undefined : new Date(timeMs).toISOString();
}

function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, '�');
}

/** Buffers become hexadecimal. */
function plainOf(value: unknown): unknown {
  if (Buffer.isBuffer(value)) return value.toString('hex');
  if (Array.isArray(value)) return value.map(plainOf);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, plainOf(member)]));
}
