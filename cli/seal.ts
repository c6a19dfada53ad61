/** `plombe seal`: seals what comes on standard input for the given recipients. */
import { readFileSync } from 'node:fs';
import { buffer } from 'node:stream/consumers';
import { Command, InvalidArgumentError, Option } from 'commander';
import { createSealer } from '../cms/seal.ts';
import type { SealKeys } from '../cms/seal.ts';
import type { ContentType } from '../cms/envelope-info.ts';
import { certificatesFromPem } from '../pki/certificate.ts';
import type { Certificate } from '../pki/certificate.ts';
import { readPassphrase } from '../pki/identity.ts';
import { readPrivateKey } from '../pki/private-key.ts';

interface SealOptions {
  readonly sigKey?: string;
  readonly sigCert?: string;
  readonly encKey: string;
  readonly encCert: string;
  readonly keyPassphraseFile?: string;
  readonly to: readonly string[];
  readonly topic?: string;
  readonly sequence: number;
  readonly contentType: ContentType;
  readonly unsigned?: true;
  readonly embedChain?: true;
}

const contentTypes: readonly ContentType[] = ['octets', 'senml+cbor', 'senml+json', 'command+cbor'];

export function sealCommand(): Command {
  return new Command('seal')
    .description('Seals standard input for the recipients; the envelope (DER) goes to standard output.')
    .requiredOption('--enc-key <file>', "the originator's key-agreement key, PEM")
    .requiredOption('--enc-cert <file>', 'its certificate, PEM; may be followed by its CAs')
    .option('--sig-key <file>', "the originator's signing key, PEM")
    .option('--sig-cert <file>', 'its certificate, PEM; may be followed by its CAs')
    .option('--key-passphrase-file <file>', 'its first line decrypts the keys')
    .requiredOption('--to <file...>', "a recipient's ENC certificate, PEM; once for each recipient")
    .option('--topic <topic>', 'where it will be published (default: <common name>/snapshots)')
    .option('--sequence <number>', "its number in the originator's sequence", parseSequence, 0)
    .addOption(new Option('--content-type <type>', 'what it is').choices(contentTypes).default('octets'))
    .option('--unsigned', 'a bare AuthEnvelopedData; most readers refuse it')
    .option('--embed-chain', 'put the certificates into the envelope')
    .action(seal);
}

async function seal(options: SealOptions, command: Command): Promise<void> {
  if (options.unsigned !== true && (options.sigKey === undefined || options.sigCert === undefined)) {
    command.error('error: --sig-key and --sig-cert are needed, or --unsigned');
  }
  const agreementChain = readCertificates(options.encCert);
  const signatureChain = options.sigCert === undefined ? [] : readCertificates(options.sigCert);
  const keys = readKeys(options, agreementChain[0], signatureChain[0]);
  const content = await buffer(process.stdin);
  const { envelope } = createSealer(keys).seal(
    content,
    options.to.map((file) => leafOf(readCertificates(file)[0], file)),
    {
      topic: options.topic ?? `${keys.keyAgreement.certificate.commonName}/snapshots`,
      sequence: options.sequence,
      previousDigest: undefined,
      contentType: options.contentType,
      signingTimeMs: Date.now(),
      ...(options.embedChain === true
        ? { embedChain: [...agreementChain.slice(1), ...signatureChain.slice(1)] }
        : {}),
    },
  );
  process.stdout.write(envelope);
}

function readKeys(
  options: SealOptions,
  agreement: Certificate | undefined,
  signature: Certificate | undefined,
): SealKeys {
  const passphrase = readPassphrase(options.keyPassphraseFile);
  const keyAgreement = {
    key: readPrivateKey(readFileSync(options.encKey), passphrase),
    certificate: leafOf(agreement, options.encCert),
  };
  if (options.unsigned === true || options.sigKey === undefined || options.sigCert === undefined) {
    return { keyAgreement };
  }
  const key = readPrivateKey(readFileSync(options.sigKey), passphrase);
  return { keyAgreement, signature: { key, certificate: leafOf(signature, options.sigCert) } };
}

function readCertificates(file: string): Certificate[] {
  return certificatesFromPem(readFileSync(file));
}

function leafOf(certificate: Certificate | undefined, file: string): Certificate {
  if (certificate === undefined) throw new Error(`no certificate in ${file}`);
  return certificate;
}

function parseSequence(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) {
    throw new InvalidArgumentError('a whole number from 0 to 9007199254740991 is wanted');
  }
  return value;
}
