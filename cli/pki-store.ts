/** `plombe pki export-p12` and `import-p12`: keys from and for browsers, Java and others, as PKCS #12. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { Command, Option } from 'commander';
import { certificatesFromPem, certificatesToPem } from '../pki/certificate.ts';
import type { Certificate } from '../pki/certificate.ts';
import { PkiError } from '../pki/errors.ts';
import { readPassphrase } from '../pki/identity.ts';
import { inFile, readTextFile } from '../pki/pem-file.ts';
import { readPkcs12, writePkcs12 } from '../pki/pkcs12.ts';
import { privateKeyToPem, readPrivateKey } from '../pki/private-key.ts';
import { describeSystemError } from '../runtime/config.ts';
import { writeFileAtomically } from '../runtime/files.ts';

const kinds = ['tls', 'sig', 'enc'] as const;
type Kind = (typeof kinds)[number];

interface StoreOptions {
  readonly passphraseFile: string;
  readonly keyPassphraseFile?: string;
}

const secretMode = 0o600;

export function exportCommand(): Command {
  return withPassphrases(new Command('export-p12'))
    .description("Writes one of an identity's keys with its certificates as a PKCS #12 file.")
    .argument('<identity>', 'its directory')
    .requiredOption('--out <file>', 'the file to write')
    .addOption(new Option('--kind <kind>', 'which key').choices(kinds).default('tls'))
    .addHelpText(
      'after',
      '\nOpenSSL 3, Java (8u301 and later) and Firefox read it. Java wants a passphrase of ASCII characters.',
    )
    .action((directory: string, options: StoreOptions & { out: string; kind: Kind }) => {
      const file = (name: string): string => path.join(directory, `${options.kind}.${name}.pem`);
      const key = inFile(file('key'), () =>
        readPrivateKey(readTextFile(file('key')), readPassphrase(options.keyPassphraseFile)),
      );
      const chain = inFile(file('chain'), () => certificatesFromPem(readTextFile(file('chain'))));
      if (chain[0]?.x509.checkPrivateKey(key) !== true) {
        throw new PkiError('pki.malformed_key', `${file('key')} is not the key of ${file('chain')}`);
      }
      writeFileAtomically(options.out, writePkcs12({ key, chain }, passphraseOf(options)), secretMode);
      process.stdout.write(
        `${options.kind} key of ${chain[0].commonName ?? directory} is in ${options.out}\n`,
      );
    });
}

export function importCommand(): Command {
  return withPassphrases(new Command('import-p12'))
    .description(
      'Puts the key of a PKCS #12 file and its certificates into a directory, as programs read it.',
    )
    .argument('<file>', 'PKCS #12, as OpenSSL 3, Java or Firefox write it')
    .requiredOption('--out <directory>', 'where to write; existing files stay')
    .addHelpText(
      'after',
      '\nWhat the key is for, TLS, signatures or key agreement, its certificate says. Roots are not taken from the file:' +
        '\nput tls-root.crt.pem and e2e-root.crt.pem there from where you trust them.',
    )
    .action((source: string, options: StoreOptions & { out: string }) => {
      const { key, chain } = inFile(source, () => readPkcs12(readBytes(source), passphraseOf(options)));
      const [leaf] = chain;
      const kind = leaf === undefined ? undefined : kindOf(leaf);
      if (leaf === undefined || kind === undefined) {
        throw new PkiError('pki.key_usage', `${source}: its certificate is for none of ${kinds.join(', ')}`);
      }
      // A client of an account has the name of the CA that issued it (DESIGN §3), so the name alone says nothing.
      const belowRoot = chain.filter(
        ({ isAuthority, issuerDer, subjectDer }) => !(isAuthority && issuerDer.equals(subjectDer)),
      );
      const files = [
        ['key', privateKeyToPem(key, readPassphrase(options.keyPassphraseFile)), secretMode],
        ['crt', certificatesToPem([leaf]), undefined],
        ['chain', certificatesToPem(belowRoot), undefined],
      ] as const;
      for (const [name] of files) requireFree(path.join(options.out, `${kind}.${name}.pem`));
      for (const [name, content, mode] of files)
        writeFileAtomically(path.join(options.out, `${kind}.${name}.pem`), content, mode);
      process.stdout.write(`${kind} key of ${leaf.commonName ?? source} is in ${options.out}\n`);
    });
}

function withPassphrases(command: Command): Command {
  return command
    .requiredOption('--passphrase-file <file>', 'its first line protects the PKCS #12 file')
    .option('--key-passphrase-file <file>', "its first line encrypts the identity's key");
}

function passphraseOf({ passphraseFile }: StoreOptions): string {
  const passphrase = readPassphrase(passphraseFile) ?? '';
  if (passphrase === '')
    throw new PkiError('pki.wrong_passphrase', `${passphraseFile}: its first line is empty`);
  return passphrase;
}

function kindOf({ keyUsage, extendedKeyUsage, isAuthority }: Certificate): Kind | undefined {
  if (isAuthority) return undefined;
  if (extendedKeyUsage !== undefined) return 'tls';
  if (keyUsage?.has('keyAgreement') === true) return 'enc';
  return keyUsage?.has('digitalSignature') === true ? 'sig' : undefined;
}

function requireFree(file: string): void {
  if (existsSync(file)) throw new PkiError('pki.malformed_request', `${file} is there already`);
}

function readBytes(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new PkiError('pki.missing_file', `${file}: cannot read it: ${describeSystemError(cause)}`, {
      cause,
    });
  }
}
