/** `plombe audit`: what a ledger says and whether it is true, for anybody who has the file. */
import { readFileSync, writeFileSync } from 'node:fs';
import { Command, InvalidArgumentError } from 'commander';
import { checkProof, proveConsistency, proveInclusion } from '../ledger/exported-proof.ts';
import type { CheckedProof } from '../ledger/exported-proof.ts';
import type { Fork, Gap } from '../ledger/completeness.ts';
import type { SignedHead } from '../ledger/tree-head.ts';
import { readHead } from '../ledger/tree-head.ts';
import { signersOf, verifyLedger } from '../ledger/verify.ts';
import type { HeadSigner, Verification } from '../ledger/verify.ts';
import type { Certificate } from '../pki/certificate.ts';
import { certificatesFromPem } from '../pki/certificate.ts';

interface VerifyOptions {
  readonly root?: readonly string[];
  readonly head?: readonly string[];
  readonly json?: true;
}

interface ProofOptions {
  readonly output?: string;
}

/** A line of progress for each so many leaves, on a terminal. */
const progressEvery = 100_000;
const forkLinesMax = 20;

export function auditCommand(): Command {
  return new Command('audit')
    .description("Verifies an auditor's ledger and what was taken from it, from the files alone.")
    .addCommand(verifyCommand())
    .addCommand(proveCommand())
    .addCommand(consistencyCommand())
    .addCommand(checkProofCommand());
}

function verifyCommand(): Command {
  return new Command('verify')
    .description(
      'Reads a ledger from its first entry to its last. Prints what is in it, which numbers of a device are missing or\n' +
        'were used twice, the root, and who signed it. Exit status 1 if anything is not as it was written.',
    )
    .argument('<ledger>', 'for example data/auditor/egress.ledger')
    .option(
      '--root <file>',
      'E2E root certificate (PEM) that the signers must lead to; may be repeated',
      append,
    )
    .option('--head <file>', 'a signed tree head that somebody else holds; may be repeated', append)
    .option('--json', 'print everything as one JSON object')
    .action(verify);
}

function proveCommand(): Command {
  return new Command('prove')
    .description(
      'Prints the proof that one entry is in the ledger, as JSON, up to the last head that is signed there.',
    )
    .argument('<ledger>')
    .argument('<number>', 'of the entry, as `plombe auditor list` prints it', parseNumber)
    .option('--output <file>', 'instead of standard output')
    .action((ledger: string, number: number, { output }: ProofOptions) => {
      print(`${JSON.stringify(proveInclusion(ledger, number), null, 2)}\n`, output);
    });
}

function consistencyCommand(): Command {
  return new Command('consistency')
    .description('Prints the proof that the last signed head continues an earlier one, as JSON.')
    .argument('<ledger>')
    .argument('<size>', 'leaves of the earlier one', parseNumber)
    .option('--output <file>', 'instead of standard output')
    .action((ledger: string, size: number, { output }: ProofOptions) => {
      print(`${JSON.stringify(proveConsistency(ledger, size), null, 2)}\n`, output);
    });
}

function checkProofCommand(): Command {
  return new Command('check-proof')
    .description(
      'Checks a proof of the two commands above; no ledger is needed. Exit status 1 if it proves nothing. The signer of\n' +
        'its head is checked with --root; a proof of consistency is worth what the earlier root is: compare it, or --head.',
    )
    .argument('<proof>', 'a JSON file')
    .option(
      '--root <file>',
      'E2E root certificate (PEM) that the signers must lead to; may be repeated',
      append,
    )
    .option('--head <file>', 'the earlier head that somebody else holds', append)
    .action(check);
}

function verify(ledger: string, options: VerifyOptions): void {
  const roots = rootsOf(options.root);
  const found = verifyLedger(ledger, {
    ...(roots === undefined ? {} : { roots }),
    heads: headsOf(options.head),
    onProgress: showProgress,
  });
  process.stdout.write(
    options.json === true ? `${JSON.stringify(plainOf(found))}\n` : textOf(found, roots !== undefined),
  );
  if (found.fault !== undefined) process.exitCode = 1;
}

function showProgress({
  leaves,
  doneBytes,
  bytes,
}: {
  leaves: number;
  doneBytes: number;
  bytes: number;
}): void {
  if (!process.stderr.isTTY || leaves % progressEvery !== 0) return;
  process.stderr.write(`\r${leaves} entries, ${Math.floor((100 * doneBytes) / bytes)} %`);
  if (bytes - doneBytes < (bytes / leaves) * progressEvery) process.stderr.write('\r\u001b[K');
}

function check(file: string, options: VerifyOptions): void {
  const proof = checkProof(JSON.parse(readFileSync(file, 'utf8')));
  const roots = rootsOf(options.root);
  requireTrusted(proof.head, roots);
  for (const head of headsOf(options.head)) requireEarlier(proof, head);
  const what =
    proof.kind === 'inclusion'
      ? `Entry ${proof.leaf.number} is in the ledger:\n${JSON.stringify(proof.leaf, octetsAsHex, 2)}\n`
      : `The tree of ${proof.earlierSize} leaves with root ${proof.earlierRoot.toString('hex')} is its beginning.\n`;
  process.stdout.write(
    `${what}${headText(proof.head, signersOf(proof.head, roots ?? []), roots !== undefined)}`,
  );
}

function requireTrusted(head: SignedHead, roots: readonly Certificate[] | undefined): void {
  const stranger = roots && signersOf(head, roots).find((signer) => !signer.isTrusted);
  if (stranger) throw new Error(`the certificate of ${stranger.commonName} does not lead to the given root`);
}

function requireEarlier(proof: CheckedProof, head: SignedHead): void {
  const isRight =
    proof.kind === 'consistency' &&
    head.origin === proof.head.origin &&
    head.size === proof.earlierSize &&
    head.root.equals(proof.earlierRoot);
  if (!isRight) throw new Error(`it is no proof about the head of ${head.size} leaves of ${head.origin}`);
}

function textOf(found: Verification, isRooted: boolean): string {
  const { fault, signedHead, leaves, passages, alarms, bytes, tornBytes } = found;
  const lines = [
    `${found.origin}, since ${new Date(found.beganMs).toISOString()}`,
    `${passages} envelopes, ${bytes} bytes, ${alarms} alarms; ${leaves} entries in all`,
    ...linesOf(found.gaps, gapText, 'no gaps', 'gaps'),
    ...linesOf(found.forks, forkText, 'no number was used twice', 'numbers used twice'),
    ...(tornBytes === 0
      ? []
      : [`${tornBytes} bytes behind the last entry are half written, and no part of it`]),
    `root ${found.root.toString('hex')}`,
  ];
  const signed =
    signedHead === undefined
      ? 'no head is signed\n'
      : headText(signedHead, signedHead.signers, isRooted) +
        (leaves > signedHead.size
          ? `${leaves - signedHead.size} entries since then are not signed for yet\n`
          : '');
  const verdict =
    fault === undefined
      ? 'ok\n'
      : `NOT RIGHT from entry ${fault.leaf} on (${fault.reason}): ${fault.detail}\n`;
  return `${lines.join('\n')}\n${signed}${verdict}`;
}

function linesOf<T>(found: readonly T[], text: (one: T) => string, none: string, some: string): string[] {
  if (found.length === 0) return [none];
  const shown = found.slice(0, forkLinesMax).map((one) => `  ${text(one)}`);
  const more = found.length > shown.length ? [`  and ${found.length - shown.length} more; see --json`] : [];
  return [`${some}: ${found.length}`, ...shown, ...more];
}

function gapText({ stream, from, to }: Gap): string {
  return `${stream} ${from === to ? `#${from}` : `#${from} to #${to}`}`;
}

function forkText({ stream, sequence, leaves }: Fork): string {
  return `${stream} #${sequence}: entries ${leaves.join(' and ')}`;
}

function headText(
  { size, root }: Pick<SignedHead, 'size' | 'root'>,
  signers: readonly HeadSigner[],
  isRooted: boolean,
): string {
  const names = signers.map(({ commonName, timeMs }) => `${commonName} at ${new Date(timeMs).toISOString()}`);
  const doubt = isRooted ? '' : ' (says its certificate; --root checks that)';
  return `${size} entries with root ${root.toString('hex')} signed by ${names.join(' and ')}${doubt}\n`;
}

function plainOf(found: Verification): object {
  return JSON.parse(JSON.stringify(found, octetsAsHex)) as object;
}

/** A Buffer has become `{ type: 'Buffer', data }` by the time that this sees it. */
function octetsAsHex(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('type' in value) || value.type !== 'Buffer')
    return value;
  return 'data' in value && Array.isArray(value.data)
    ? Buffer.from(value.data as number[]).toString('hex')
    : value;
}

function rootsOf(files: readonly string[] | undefined): Certificate[] | undefined {
  return files?.flatMap((file) => certificatesFromPem(readFileSync(file, 'utf8')));
}

function headsOf(files: readonly string[] = []): SignedHead[] {
  return files.map((file) => readHead(readFileSync(file)));
}

function print(text: string, output: string | undefined): void {
  if (output === undefined) process.stdout.write(text);
  else writeFileSync(output, text);
}

function append(file: string, before: readonly string[] = []): string[] {
  return [...before, file];
}

function parseNumber(text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value)) return value;
  throw new InvalidArgumentError('Wanted a whole number.');
}
