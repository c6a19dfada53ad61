/** `plombe seal`: seals what comes on standard input for the given recipients. */
import type { KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { buffer } from 'node:stream/consumers';
import { Command, InvalidArgumentError, Option } from 'commander';
import type { ContentType } from '../cms/envelope-info.ts';
import type { HybridRecipient } from '../cms/hybrid.ts';
import type { IdentifierKind } from '../cms/identifier.ts';
import type { SharedInfoFlavour } from '../cms/kdf.ts';
import { fileEnvelopeBytesMax } from '../cms/limits.ts';
import type { SealFormat } from '../cms/seal-format.ts';
import { createSealer } from '../cms/seal.ts';
import type { Recipient } from '../cms/seal.ts';
import { certificatesFromPem } from '../pki/certificate.ts';
import type { Certificate } from '../pki/certificate.ts';
import { readPassphrase } from '../pki/identity.ts';
import { readPrivateKey } from '../pki/private-key.ts';

interface SealOptions {
  readonly sigKey?: string;
  readonly sigCert?: string;
  readonly encKey: readonly string[];
  readonly encCert: readonly string[];
  readonly keyPassphraseFile?: string;
  readonly to: readonly string[];
  readonly toKem?: readonly string[];
  readonly topic?: string;
  readonly sequence: number;
  readonly contentType: ContentType;
  readonly unsigned?: true;
  readonly embedChain?: true;
  readonly kdfFlavour: SharedInfoFlavour;
  readonly kdfHash?: NonNullable<SealFormat['kdfHash']>;
  readonly contentKeyBits: keyof typeof keyBytes;
  readonly keyWrapBits: keyof typeof keyBytes;
  readonly originatorBy: keyof typeof identifierKinds | 'public-key';
  readonly recipientBy: keyof typeof identifierKinds;
  readonly plain?: true;
  readonly compress: boolean;
}

/** A key with its certificate, and the CAs that stand in the certificate's file. */
interface Certified {
  readonly key: KeyObject;
  readonly certificate: Certificate;
  readonly authorities: readonly Certificate[];
}

const contentTypes: readonly ContentType[] = ['octets', 'senml+cbor', 'senml+json', 'command+cbor'];
const keyBytes = { '128': 16, '192': 24, '256': 32 } as const;
const identifierKinds = {
  'key-identifier': 'keyIdentifier',
  'issuer-and-serial': 'issuerAndSerial',
} as const satisfies Readonly<Record<string, IdentifierKind>>;

export function sealCommand(): Command {
  const command = new Command('seal')
    .description('Seals standard input for the recipients; the envelope (DER) goes to standard output.')
    .requiredOption(
      '--enc-key <file...>',
      "the originator's key-agreement key, PEM; one for each curve that recipients are on",
    )
    .requiredOption(
      '--enc-cert <file...>',
      'its certificate, PEM; may be followed by its CAs; in the same order',
    )
    .option('--sig-key <file>', "the originator's signing key, PEM")
    .option('--sig-cert <file>', 'its certificate, PEM; may be followed by its CAs')
    .option('--key-passphrase-file <file>', 'its first line decrypts the keys')
    .requiredOption('--to <file...>', "a recipient's ENC certificate, PEM; once for each recipient")
    .option(
      '--to-kem <file...>',
      'an ML-KEM-768 certificate of one of them, by its common name: both of its keys are then needed',
    )
    .option('--topic <topic>', 'where it will be published (default: <common name>/snapshots)')
    .option('--sequence <number>', "its number in the originator's sequence", parseSequence, 0)
    .addOption(new Option('--content-type <type>', 'what it is').choices(contentTypes).default('octets'))
    .option('--unsigned', 'a bare AuthEnvelopedData; most readers refuse it')
    .option('--embed-chain', 'put the certificates into the envelope');
  return withFormatOptions(command).action(seal);
}

/** The choices of `SealFormat`. Whoever needs none of them has a reader of ours. */
function withFormatOptions(command: Command): Command {
  const bits = Object.keys(keyBytes);
  const kinds = Object.keys(identifierKinds);
  return command
    .optionsGroup('For readers other than ours:')
    .addOption(
      new Option('--kdf-flavour <flavour>', 'of the key derivation; bc: as BouncyCastle for Java up to 1.86')
        .choices(['rfc5753', 'bc'])
        .default('rfc5753'),
    )
    .addOption(
      new Option('--kdf-hash <hash>', 'of the key derivation (default: by the curve)').choices([
        'sha256',
        'sha384',
        'sha512',
      ]),
    )
    .addOption(new Option('--content-key-bits <bits>', 'of AES-GCM').choices(bits).default('256'))
    .addOption(
      new Option('--key-wrap-bits <bits>', 'of the AES key wrap; no fewer than the content key has')
        .choices(bits)
        .default('256'),
    )
    .addOption(
      new Option('--originator-by <form>', "how the originator's ENC key is named")
        .choices([...kinds, 'public-key'])
        .default('key-identifier'),
    )
    .addOption(
      new Option('--recipient-by <form>', 'how recipients are named')
        .choices(kinds)
        .default('key-identifier'),
    )
    .option('--plain', 'without the attribute of ours (topic, sequence, key commitment); needs --unsigned')
    .option('--no-compress', 'leave the content as it is, even if it would get smaller');
}

async function seal(options: SealOptions, command: Command): Promise<void> {
  if (options.unsigned !== true && (options.sigKey === undefined || options.sigCert === undefined)) {
    command.error('error: --sig-key and --sig-cert are needed, or --unsigned');
  }
  if (options.encKey.length !== options.encCert.length) {
    command.error('error: as many --enc-cert as --enc-key are needed, in the same order');
  }
  if (options.plain === true && options.unsigned !== true) {
    command.error('error: --plain needs --unsigned: a signed envelope commits to its key');
  }
  const passphrase = readPassphrase(options.keyPassphraseFile);
  const agreements = options.encKey.map((file, index) =>
    readCertified(file, options.encCert[index] ?? '', passphrase),
  );
  const signature = readSignature(options, passphrase);
  const sealer = createSealer(
    { keyAgreement: agreements, ...(signature === undefined ? {} : { signature }) },
    { envelopeBytesMax: fileEnvelopeBytesMax, format: formatOf(options) },
  );
  const commonName = agreements[0]?.certificate.commonName;
  const authorities = [...agreements, ...(signature === undefined ? [] : [signature])].flatMap(
    (own) => own.authorities,
  );
  const { envelope } = sealer.seal(await buffer(process.stdin), readRecipients(options), {
    topic: options.topic ?? `${commonName}/snapshots`,
    sequence: options.sequence,
    previousDigest: undefined,
    contentType: options.contentType,
    signingTimeMs: Date.now(),
    ...(options.embedChain === true ? { embedChain: authorities } : {}),
  });
  process.stdout.write(envelope);
}

/** Each ML-KEM certificate joins the one ENC certificate that has its common name. */
function readRecipients({ to, toKem = [] }: SealOptions): readonly Recipient[] {
  const recipients = to.map((file) => readCertificates(file)[0]);
  const hybrids = toKem.map((file): HybridRecipient => {
    const [kem] = readCertificates(file);
    const [keyAgreement, another] = recipients.filter(({ commonName }) => commonName === kem.commonName);
    if (keyAgreement === undefined || another !== undefined) {
      throw new Error(`not exactly one --to has the common name of the certificate in ${file}`);
    }
    return { keyAgreement, kem };
  });
  const classical = recipients.filter(
    (recipient) => !hybrids.some(({ keyAgreement }) => keyAgreement === recipient),
  );
  return [...classical, ...hybrids];
}

function formatOf(options: SealOptions): SealFormat {
  const { originatorBy } = options;
  return {
    kdfFlavour: options.kdfFlavour,
    ...(options.kdfHash === undefined ? {} : { kdfHash: options.kdfHash }),
    contentKeyBytes: keyBytes[options.contentKeyBits],
    keyWrapBytes: keyBytes[options.keyWrapBits],
    originator: originatorBy === 'public-key' ? 'publicKey' : identifierKinds[originatorBy],
    recipient: identifierKinds[options.recipientBy],
    ...(options.plain === true
      ? { attributes: 'plain', compress: false }
      : { attributes: 'plombe', compress: options.compress }),
  };
}

function readSignature(options: SealOptions, passphrase: string | undefined): Certified | undefined {
  const { unsigned, sigKey, sigCert } = options;
  if (unsigned === true || sigKey === undefined || sigCert === undefined) return undefined;
  return readCertified(sigKey, sigCert, passphrase);
}

function readCertified(keyFile: string, certificateFile: string, passphrase: string | undefined): Certified {
  const [certificate, ...authorities] = readCertificates(certificateFile);
  return { key: readPrivateKey(readFileSync(keyFile), passphrase), certificate, authorities };
}

/** @returns at least one, as `certificatesFromPem` has it */
function readCertificates(file: string): readonly [Certificate, ...Certificate[]] {
  const [first, ...rest] = certificatesFromPem(readFileSync(file));
  if (first === undefined) throw new Error(`no certificate in ${file}`);
  return [first, ...rest];
}

function parseSequence(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) {
    throw new InvalidArgumentError('a whole number from 0 to 9007199254740991 is wanted');
  }
  return value;
}
