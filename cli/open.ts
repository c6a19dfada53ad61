/** `plombe open`: opens the envelope that comes on standard input. */
import { readFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import { chainVerifier } from '../cms/chain.ts';
import { CmsError } from '../cms/errors.ts';
import type { CmsErrorCode } from '../cms/errors.ts';
import { inspect } from '../cms/inspect.ts';
import { fileEnvelopeBytesMax } from '../cms/limits.ts';
import type { KemKey } from '../cms/hybrid.ts';
import type { SharedInfoFlavour } from '../cms/kdf.ts';
import type { KeyAgreementKey } from '../cms/key-agreement-key.ts';
import { openAnonymous } from '../cms/open-anonymous.ts';
import { createOpener } from '../cms/open.ts';
import type { OpenerSettings } from '../cms/open.ts';
import { originatorsOf, pairCertificates } from '../cms/originator.ts';
import type { VerifyChain } from '../cms/originator.ts';
import type { RecipientKey } from '../cms/recipient.ts';
import { systemClock } from '../domain/clock.ts';
import { certificatesFromPem } from '../pki/certificate.ts';
import type { PkiError } from '../pki/errors.ts';
import { readPassphrase } from '../pki/identity.ts';
import { readPrivateKey } from '../pki/private-key.ts';
import { readEnvelopeBytes } from './envelope-input.ts';

interface OpenOptions {
  readonly encKey: string;
  readonly encCert: string;
  readonly kemKey?: string;
  readonly kemCert?: string;
  readonly keyPassphraseFile?: string;
  readonly trust?: string;
  readonly originator?: readonly string[];
  readonly allowUnsigned?: true;
  readonly allowAnonymous?: true;
  readonly kdfFlavour: SharedInfoFlavour | 'any';
  readonly topic?: string;
}

const bound = { envelopeBytesMax: fileEnvelopeBytesMax };

/** Zero is an envelope that was opened; 1 and 2 are failures of ours and wrong use, as in every subcommand. */
const exitStatuses: Readonly<Record<CmsErrorCode, number>> = {
  'cms.malformed': 3,
  'cms.unsupported': 3,
  'cms.not_a_recipient': 4,
  'cms.unsigned': 5,
  'cms.untrusted_originator': 5,
  'cms.wrong_topic': 5,
  'cms.rejected': 5,
};

export function openCommand(): Command {
  return new Command('open')
    .description(
      'Opens the envelope on standard input; its content goes to standard output.\n' +
        'Exit status: 0 opened, 3 malformed, 4 not a recipient, 5 refused.',
    )
    .requiredOption('--enc-key <file>', "the recipient's key-agreement key, PEM")
    .requiredOption('--enc-cert <file>', 'its certificate, PEM')
    .option('--kem-key <file>', "the recipient's ML-KEM-768 key, PEM, if it has one")
    .option('--kem-cert <file>', 'its certificate, PEM')
    .option('--key-passphrase-file <file>', 'its first line decrypts the keys')
    .option('--trust <file>', "pinned roots, PEM: the originator's certificates must lead to one of them")
    .option(
      '--originator <file...>',
      'certificates of originators, PEM, SIG and ENC; trusted as they are if no --trust is given',
    )
    .option('--allow-unsigned', 'accept a bare AuthEnvelopedData')
    .option('--allow-anonymous', 'accept ephemeral-static ECDH, which proves no origin')
    .option('--topic <topic>', 'refuse an envelope that was sealed for another topic')
    .addOption(
      new Option('--kdf-flavour <flavour>', 'how the key-encryption key is derived')
        .choices(['rfc5753', 'bc', 'any'])
        .default('any'),
    )
    .action(open);
}

async function open(options: OpenOptions, command: Command): Promise<void> {
  if ((options.kemKey === undefined) !== (options.kemCert === undefined)) {
    command.error('error: --kem-key and --kem-cert go together');
  }
  const recipient = readRecipient(options);
  let refusal: PkiError | undefined;
  const opener = createOpener(
    settingsOf(options, recipient, (reason) => {
      refusal = reason;
    }),
  );
  try {
    const envelope = await readEnvelopeBytes();
    if (options.allowAnonymous === true && isAnonymous(envelope)) {
      process.stdout.write(openAnonymous(envelope, recipient, bound));
      return;
    }
    const expected = options.topic === undefined ? {} : { expectedTopic: options.topic };
    process.stdout.write(opener.open(envelope, expected).content);
  } catch (error) {
    if (!(error instanceof CmsError)) throw error;
    const detail = refusal === undefined ? '' : ` (${refusal.message})`;
    process.stderr.write(`plombe open: ${error.code}: ${error.message}${detail}\n`);
    process.exitCode = exitStatuses[error.code];
  }
}

function readRecipient({ encKey, encCert, kemKey, kemCert, ...options }: OpenOptions): RecipientKey {
  const passphrase = readPassphrase(options.keyPassphraseFile);
  const own = readKey(encKey, encCert, passphrase);
  if (kemKey === undefined || kemCert === undefined) return own;
  return { ...own, kem: readKey(kemKey, kemCert, passphrase) };
}

function readKey(
  keyFile: string,
  certificateFile: string,
  passphrase: string | undefined,
): KeyAgreementKey & KemKey {
  const [certificate] = certificatesFromPem(readFileSync(certificateFile));
  if (certificate === undefined) throw new Error(`no certificate in ${certificateFile}`);
  return { key: readPrivateKey(readFileSync(keyFile), passphrase), certificate };
}

function settingsOf(
  options: OpenOptions,
  recipient: RecipientKey,
  onRefused: (reason: PkiError) => void,
): OpenerSettings {
  const roots = options.trust === undefined ? [] : certificatesFromPem(readFileSync(options.trust));
  const verifyChain =
    roots.length === 0 ? undefined : chainVerifier({ roots, clock: systemClock, onRefused });
  return {
    ...bound,
    recipient,
    originators: originatorsOf(readOriginators(options.originator ?? [], verifyChain)),
    ...(verifyChain === undefined ? {} : { verifyChain }),
    policy: {
      allowUnsigned: options.allowUnsigned === true,
      kdfFlavours: options.kdfFlavour === 'any' ? ['rfc5753', 'bc'] : [options.kdfFlavour],
    },
  };
}

function readOriginators(files: readonly string[], verifyChain: VerifyChain | undefined) {
  const all = files.flatMap((file) => certificatesFromPem(readFileSync(file)));
  const pairs = pairCertificates(all);
  if (verifyChain === undefined) return pairs;
  return pairs.flatMap(({ keyAgreement, signature }) => verifyChain({ keyAgreement, signature, all }) ?? []);
}

function isAnonymous(envelope: Buffer): boolean {
  return inspect(envelope, bound).agreements.some(({ keyAgreement }) => keyAgreement.startsWith('stdDh'));
}
