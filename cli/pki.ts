/** `plombe pki`: runs an authority, shows certificates and CRLs, and verifies chains. */
import { readFileSync } from 'node:fs';
import { Command, InvalidArgumentError, Option } from 'commander';
import { createAuthority, openAuthority } from '../pki/authority/authority.ts';
import type { Authority } from '../pki/authority/authority.ts';
import type { LedgerKind } from '../pki/authority/ledger.ts';
import type { RevocationRequest } from '../pki/authority/requests.ts';
import { certificateKinds, usualKinds } from '../pki/authority/profiles.ts';
import type { CertificateKind } from '../pki/authority/profiles.ts';
import { certificatesFromPem, curveNames } from '../pki/certificate.ts';
import type { CurveName } from '../pki/certificate.ts';
import { updateFromBundle } from '../pki/crl-bundle.ts';
import { crlsFromPem, reasonCodes } from '../pki/crl.ts';
import type { CrlReason } from '../pki/crl.ts';
import { PkiError } from '../pki/errors.ts';
import { readPassphrase } from '../pki/identity.ts';
import { purposeNames, verifyPath } from '../pki/path.ts';
import type { Purpose } from '../pki/path.ts';
import { RevocationIndex } from '../pki/revocation.ts';
import { parseWhole } from './arguments.ts';
import { certificateText, crlText } from './pki-show.ts';
import { requestCommand, signCommand } from './pki-request.ts';
import { exportCommand, importCommand } from './pki-store.ts';
import { print } from './print.ts';

const dayMs = 24 * 60 * 60 * 1000;
const parseDays = parseWhole(36_500);

export function pkiCommand(): Command {
  return new Command('pki')
    .description('The authority: issues and revokes certificates; shows and verifies them.')
    .addCommand(initCommand())
    .addCommand(issueCommand())
    .addCommand(requestCommand())
    .addCommand(signCommand(withDirectory(new Command('sign')), open, parseDays))
    .addCommand(revokeCommand())
    .addCommand(crlCommand())
    .addCommand(showCommand())
    .addCommand(verifyCommand())
    .addCommand(exportCommand())
    .addCommand(importCommand());
}

interface DirectoryOptions {
  readonly dir: string;
  readonly passphraseFile?: string;
}

function initCommand(): Command {
  return withDirectory(new Command('init'))
    .description(
      'Creates an authority: the TLS and the E2E root, the vendor CA of each, and their first CRLs.',
    )
    .addOption(
      new Option(
        '--curve <curve>',
        'of every key; with a brainpool curve TLS takes the NIST curve of its size',
      )
        .choices(curveNames)
        .default('P-256'),
    )
    .option(
      '--token <uri>',
      "the CAs' keys are made on a PKCS #11 token: pkcs11:token=LABEL?module-path=FILE; the passphrase is its PIN",
    )
    .addHelpText(
      'after',
      '\nThe directory must be empty or missing. Keep it off the network and back it up: the roots are in it.',
    )
    .action((options: DirectoryOptions & { curve: CurveName; token?: string }) => {
      const authority = createAuthority({
        directory: options.dir,
        curve: options.curve,
        ...(options.token === undefined ? {} : { token: options.token }),
        ...passphraseOf(options),
      });
      for (const root of Object.values(authority.roots)) {
        print(`${root.commonName ?? ''}  SHA-256 ${root.sha256.toString('hex')}`);
      }
    });
}

function issueCommand(): Command {
  return withDirectory(new Command('issue'))
    .description('Makes keys and certificates for an identity, and the CAs above it where they are missing.')
    .argument('<path>', 'ms-acc-1, ms-acc-1/acc-1, ms-acc-1/acc-1/dev-1, or a service such as vendor-broker')
    .addOption(
      new Option('--kind <kinds>', 'comma-separated: tls, sig, enc, and kem for ML-KEM-768')
        .argParser(parseKinds)
        .default([...usualKinds], usualKinds.join(',')),
    )
    .addOption(
      new Option(
        '--host <name>',
        "a broker's DNS name or address, may be given again; its TLS certificate then serves too",
      ).argParser((name: string, names: readonly string[] | undefined) => [...(names ?? []), name]),
    )
    .option('--out <directory>', 'where to write (default: identities/<path> in the authority)')
    .addOption(new Option('--days <days>', 'lifetime (default: 730)').argParser(parseDays))
    .addOption(new Option('--curve <curve>', "of its keys (default: the root's)").choices(curveNames))
    .option('--key-passphrase-file <file>', "encrypts the identity's keys with the first line of this file")
    .addHelpText(
      'after',
      '\nExample:\n  plombe pki issue --dir pki ms-acc-1 --host broker.example --host 192.0.2.10',
    )
    .action(async (path: string, options: IssueOptions) => {
      const keyPassphrase = readPassphrase(options.keyPassphraseFile);
      const issued = await open(options).issue({
        path,
        kinds: options.kind,
        ...(options.host === undefined ? {} : { hosts: options.host }),
        ...(options.out === undefined ? {} : { outputDirectory: options.out }),
        ...(options.days === undefined ? {} : { lifetimeMs: options.days * dayMs }),
        ...(options.curve === undefined ? {} : { curve: options.curve }),
        ...(keyPassphrase === undefined ? {} : { passphrase: keyPassphrase }),
      });
      print(`${issued.commonName}: ${options.kind.join(', ')} in ${issued.directory}`);
    });
}

interface IssueOptions extends DirectoryOptions {
  readonly kind: readonly CertificateKind[];
  readonly host?: readonly string[];
  readonly out?: string;
  readonly days?: number;
  readonly curve?: CurveName;
  readonly keyPassphraseFile?: string;
}

function revokeCommand(): Command {
  return withDirectory(new Command('revoke'))
    .description('Revokes certificates and writes the new CRLs.')
    .argument(
      '<path-or-serial>',
      'every certificate in force of that path, or the one with that serial number (hexadecimal)',
    )
    .addOption(
      new Option('--reason <reason>', 'RFC 5280 §5.3.1')
        .choices(Object.keys(reasonCodes))
        .default('unspecified'),
    )
    .addOption(
      new Option('--kind <kinds>', 'with a path: tls, sig, enc, kem; or ca, for the CA and all below it')
        .argParser(parseLedgerKinds)
        .default([...certificateKinds], certificateKinds.join(',')),
    )
    .action(
      async (
        name: string,
        options: DirectoryOptions & { reason: CrlReason; kind: readonly LedgerKind[] },
      ) => {
        const target: RevocationRequest['target'] = serialNumber.test(name)
          ? { serials: [name] }
          : { path: name };
        const revoked = await open(options).revoke({ target, reason: options.reason, kinds: options.kind });
        for (const { pki, subject, kind, serial } of revoked)
          print(`revoked ${subject} ${pki} ${kind} ${serial}`);
      },
    );
}

/** Ours have 34 digits, and no segment of a path is that long. */
const serialNumber = /^[0-9a-f]{2}(:?[0-9a-f]{2}){15,19}$/i;

interface CrlOptions extends DirectoryOptions {
  readonly days: number;
  readonly ca?: readonly string[];
}

function crlCommand(): Command {
  return withDirectory(new Command('crl'))
    .description('Issues a new CRL of every CA whose key is here. Do it before the old ones are overdue.')
    .addOption(new Option('--days <days>', 'until the next one is due').argParser(parseDays).default(7))
    .option('--ca <name...>', 'only of these CAs: `root`, `vendor`, a master account or an account')
    .action(async ({ days, ca, ...options }: CrlOptions) => {
      const { issued, offline } = await open(options).issueCrl({
        lifetimeMs: days * dayMs,
        ...(ca === undefined ? {} : { authorities: ca }),
      });
      if (issued + offline.length === 0) throw new PkiError('pki.malformed_request', 'there is no such CA');
      print(`${issued} new CRLs are in ${options.dir}, in tls/crl.pem and e2e/crl.pem`);
      if (offline.length > 0) print(`not of ${offline.join(', ')}: their keys are not here`);
    });
}

function showCommand(): Command {
  return new Command('show')
    .description('Prints certificates and CRLs.')
    .argument('<file...>', 'PEM files')
    .action((files: readonly string[]) => {
      for (const file of files) {
        const pem = read(file);
        const certificates = pem.includes('BEGIN CERTIFICATE') ? certificatesFromPem(pem) : [];
        const crls = pem.includes('BEGIN X509 CRL') ? crlsFromPem(pem) : [];
        if (certificates.length + crls.length === 0) {
          throw new PkiError(
            'pki.malformed_certificate',
            `${file} holds neither certificates nor CRLs in PEM`,
          );
        }
        process.stdout.write([...certificates.map(certificateText), ...crls.map(crlText)].join('\n'));
      }
    });
}

function verifyCommand(): Command {
  return new Command('verify')
    .description('Verifies a chain as every program of Plombe does; the exit status is 0 or 1.')
    .argument('<chain>', 'PEM file, leaf first')
    .requiredOption('--root <file>', 'the pinned root or roots, PEM')
    .option(
      '--crl <file>',
      "the authority's tls/crl.pem or e2e/crl.pem; without it nothing is taken for revoked",
    )
    .addOption(
      new Option('--purpose <purpose>', 'what the certificate is to be used for')
        .choices(purposeNames)
        .default('tls-client'),
    )
    .addOption(new Option('--at <time>', 'when, ISO 8601 (default: now)').argParser(parseTime))
    .action((chainFile: string, options: { root: string; crl?: string; purpose: Purpose; at?: number }) => {
      const roots = certificatesFromPem(read(options.root));
      const revocation = new RevocationIndex();
      if (options.crl !== undefined) updateFromBundle(revocation, read(options.crl), roots);
      const identity = verifyPath({
        chain: certificatesFromPem(read(chainFile)),
        roots,
        atMs: options.at ?? Date.now(),
        purpose: options.purpose,
        ...(options.crl === undefined ? {} : { revocation }),
      });
      print(`${identity.commonName} is a ${identity.kind}, verified for ${options.purpose}`);
    });
}

function withDirectory(command: Command): Command {
  return command
    .requiredOption('--dir <directory>', "the authority's directory")
    .option('--passphrase-file <file>', "its first line encrypts the CAs' keys");
}

function open(options: DirectoryOptions): Authority {
  return openAuthority({ directory: options.dir, ...passphraseOf(options) });
}

function passphraseOf(options: DirectoryOptions): { passphrase?: string } {
  const passphrase = readPassphrase(options.passphraseFile);
  return passphrase === undefined ? {} : { passphrase };
}

function parseKinds(text: string): CertificateKind[] {
  const kinds = parseLedgerKinds(text).filter((kind) => kind !== 'ca');
  if (kinds.length !== text.split(',').length)
    throw new InvalidArgumentError(`One or more of ${certificateKinds.join(', ')}.`);
  return kinds;
}

function parseLedgerKinds(text: string): LedgerKind[] {
  const known: readonly LedgerKind[] = [...certificateKinds, 'ca'];
  return text.split(',').map((name) => {
    const kind = known.find((candidate) => candidate === name.trim());
    if (kind === undefined) throw new InvalidArgumentError(`One or more of ${known.join(', ')}.`);
    return kind;
  });
}

function parseTime(text: string): number {
  const atMs = Date.parse(text);
  if (Number.isNaN(atMs)) throw new InvalidArgumentError('A time such as 2026-01-31T12:00:00Z.');
  return atMs;
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new PkiError('pki.missing_file', `cannot read ${file}`, { cause });
  }
}
