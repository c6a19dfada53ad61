/** `plombe device`: invites devices, enrols them, decides on what waits for their owner, and shows what there is. */
import { readFileSync, statSync } from 'node:fs';
import { Command } from 'commander';
import { systemClock } from '../domain/clock.ts';
import { openAuthority } from '../pki/authority/authority.ts';
import type { Authority } from '../pki/authority/authority.ts';
import { readPassphrase } from '../pki/identity.ts';
import { readTextFile } from '../pki/pem-file.ts';
import { parseTokenUri } from '../pki/token-key.ts';
import { createLog } from '../runtime/log.ts';
import { writeFileAtomically } from '../runtime/files.ts';
import { writeToken } from '../enrolment/token.ts';
import type { Endpoint } from '../runtime/config.ts';
import { parseEndpoint, parseWhole } from './arguments.ts';
import { decide } from './device/approve.ts';
import { enrolBatch } from './device/batch.ts';
import { enrolByToken } from './device/enrol.ts';
import { outboxCommand } from './device/outbox.ts';
import { directoriesText, requestText, tokenText } from './device/show.ts';
import { transferCommand } from './device/transfer.ts';
import { print } from './print.ts';

const dayMs = 24 * 60 * 60 * 1000;
const secretMode = 0o600;
const parseDays = parseWhole(3650);
const parseSeconds = parseWhole(86_400 * 365);
const parseCount = parseWhole(1_000_000);

export function deviceCommand(): Command {
  return new Command('device')
    .description('Devices in the field: invitations, enrolment, approvals, and hand-over to another account.')
    .addCommand(inviteCommand())
    .addCommand(enrolCommand())
    .addCommand(approveCommand())
    .addCommand(transferCommand())
    .addCommand(showCommand())
    .addCommand(outboxCommand());
}

interface AuthorityOptions {
  readonly dir: string;
  readonly passphraseFile?: string;
}

interface InviteOptions extends AuthorityOptions {
  readonly broker: Endpoint;
  readonly brokerName: string;
  readonly days: number;
  readonly out: string;
}

function inviteCommand(): Command {
  return new Command('invite')
    .description('Writes an enrolment token, with which one device gets its first certificates, once.')
    .argument(
      '<path>',
      'masterAccount/account/equipment; or vendor-factory-…, for equipment without a place yet',
    )
    .requiredOption('--dir <directory>', "the authority's directory")
    .option('--passphrase-file <file>', "its first line opens the CAs' keys")
    .requiredOption('--broker <host:port>', 'where the device connects', parseEndpoint)
    .requiredOption('--broker-name <name>', "the name that the broker's certificate carries")
    .option('--days <days>', 'how long the token is valid', parseDays, 14)
    .requiredOption('--out <file>', 'the token')
    .addHelpText(
      'after',
      `
The token has keys that are good for asking, and for nothing else. To take it back, revoke the two serial
numbers that "plombe device show" tells of it.

Example:
  plombe device invite --dir pki --broker broker.example:8883 --broker-name ms-acc-1 --out dev-1.token ms-acc-1/acc-1/dev-1`,
    )
    .action(async (path: string, options: InviteOptions) => {
      const { broker, brokerName, days, out } = options;
      const authority = open(options);
      const invitation = await authority.invite({ path, lifetimeMs: days * dayMs });
      const address = { ...broker, name: brokerName };
      writeFileAtomically(
        out,
        writeToken({ path, broker: address, ...invitation, roots: authority.roots }),
        secretMode,
      );
      print(`${path}: invited for ${days} days, token in ${out}`);
    });
}

interface EnrolOptions {
  readonly token?: string;
  readonly out: string;
  readonly keyPassphraseFile?: string;
  readonly tlsToken?: string;
  readonly sigToken?: string;
  readonly wait?: number;
  readonly csv?: string;
  readonly count?: number;
  readonly first?: string;
  readonly complete?: boolean;
  readonly dir?: string;
  readonly passphraseFile?: string;
  readonly broker?: Endpoint;
  readonly brokerName?: string;
  readonly days: number;
}

function enrolCommand(): Command {
  return new Command('enrol')
    .description(
      'On a device: makes its keys, and gets certificates for them with a token.\n' +
        'At the vendor: prepares many devices, those that a CSV file names.',
    )
    .option('--token <file>', 'on the device: what `plombe device invite` wrote')
    .requiredOption('--out <directory>', 'where the identity goes; of many, one token or one directory each')
    .option(
      '--key-passphrase-file <file>',
      'encrypts the keys with the first line of this file; it is the PIN, too',
    )
    .option('--tls-token <uri>', 'makes the TLS key on a PKCS #11 token: pkcs11:token=LABEL?module-path=FILE')
    .option('--sig-token <uri>', 'makes the SIG key there; each envelope then takes as long as the token')
    .option('--wait <seconds>', 'give up if there is no answer by then (default: never)', parseSeconds)
    .option('--csv <file>', 'at the vendor: a column `path` names the devices; made if it is not there')
    .option('--count <n>', 'how many; a CSV file that is not there is made with so many', parseCount)
    .option('--first <path>', 'the first of them; the others count up, such as ms-acc-1/acc-1/dev-0001')
    .option('--complete', 'make keys and certificates here, rather than tokens')
    .option('--dir <directory>', "the authority's directory")
    .option('--passphrase-file <file>', "its first line opens the CAs' keys")
    .option('--broker <host:port>', 'where the devices connect', parseEndpoint)
    .option('--broker-name <name>', "the name that the broker's certificate carries")
    .option('--days <days>', 'how long the tokens are valid', parseDays, 90)
    .addHelpText(
      'after',
      `
Whenever it is interrupted, the same command goes on where it stopped.
Exit status: 0 enrolled, 1 refused or failed.

Examples:
  plombe device enrol --token dev-1.token --out identity
  plombe device enrol --count 1000 --first ms-acc-1/acc-1/dev-0001 --csv devices.csv --out tokens \\
    --dir pki --broker broker.example:8883 --broker-name ms-acc-1`,
    )
    .action(enrol);
}

async function enrol(options: EnrolOptions): Promise<void> {
  const { token, csv, out, dir, passphraseFile, broker, brokerName } = options;
  if ((token === undefined) === (csv === undefined)) throw new Error('wanted is --token FILE, or --csv FILE');
  if (token !== undefined) {
    await enrolByToken({
      token: readTextFile(token),
      directory: out,
      passphrase: readPassphrase(options.keyPassphraseFile),
      tokens: {
        tls: options.tlsToken === undefined ? undefined : parseTokenUri(options.tlsToken),
        sig: options.sigToken === undefined ? undefined : parseTokenUri(options.sigToken),
      },
      timeoutMs: options.wait === undefined ? undefined : options.wait * 1000,
      print,
      log: createLog('device', 'silent'),
      clock: systemClock,
    });
    return;
  }
  if (dir === undefined || csv === undefined)
    throw new Error('--csv needs --dir, the directory of the authority');
  if (options.complete !== true && (broker === undefined || brokerName === undefined)) {
    throw new Error('tokens need --broker and --broker-name');
  }
  await enrolBatch({
    authority: open({ dir, ...(passphraseFile === undefined ? {} : { passphraseFile }) }),
    csvFile: csv,
    directory: out,
    count: options.count,
    first: options.first,
    broker: broker === undefined || brokerName === undefined ? undefined : { ...broker, name: brokerName },
    tokenLifetimeMs: options.days * dayMs,
    isComplete: options.complete === true,
    keyPassphrase: readPassphrase(options.keyPassphraseFile),
    print,
    progress: process.stderr,
  });
}

interface ApproveOptions {
  readonly identity: string;
  readonly passphraseFile?: string;
  readonly broker: Endpoint;
  readonly brokerName: string;
  readonly refuse?: string;
  readonly yes?: boolean;
  readonly as?: string;
  readonly wait: number;
}

function approveCommand(): Command {
  return new Command('approve')
    .description(
      "Decides on a device's request that waits for its owner, such as one after its certificate expired.",
    )
    .argument('<path>', 'the device; or a vendor-factory-… name, which MRO-Admin gives a place')
    .requiredOption('--identity <directory>', "the keys of the device's account or master account")
    .option('--passphrase-file <file>', 'its first line opens them')
    .requiredOption('--broker <host:port>', 'any broker that the device is behind', parseEndpoint)
    .requiredOption('--broker-name <name>', "the name that the broker's certificate carries")
    .option('--refuse <reason>', 'refuse it, and say why')
    .option('--as <path>', 'of a factory name: where it belongs')
    .option('--yes', 'do not only show what is asked: approve it')
    .option('--wait <seconds>', 'how long to wait for the request and for its answer', parseSeconds, 30)
    .addHelpText('after', '\nWithout --yes or --refuse it shows what is asked, and decides nothing.')
    .action(async (path: string, options: ApproveOptions) => {
      const { broker, brokerName, refuse, yes, as: asPath, wait, identity, passphraseFile } = options;
      await decide({
        path,
        identityDirectory: identity,
        passphraseFile,
        broker: { ...broker, name: brokerName },
        decision: refuse === undefined ? (yes === true ? 'approve' : 'show') : 'refuse',
        detail: refuse ?? '',
        asPath,
        timeoutMs: wait * 1000,
        print,
        log: createLog('device', 'silent'),
        clock: systemClock,
      });
    });
}

function showCommand(): Command {
  return new Command('show')
    .description('Shows a token, a request that waits for its answer, or the identity in a directory.')
    .argument('<file>', 'a token, enrolment.request, or a directory')
    .action((file: string) => {
      const nowMs = systemClock();
      if (statSync(file).isDirectory()) return print(directoriesText(file, nowMs));
      const bytes = readFileSync(file);
      print(bytes[0] === derSequence ? requestText(bytes) : tokenText(bytes.toString('utf8'), nowMs));
    });
}

/** What a signed message begins with. */
const derSequence = 0x30;

function open({ dir, passphraseFile }: AuthorityOptions): Authority {
  const passphrase = readPassphrase(passphraseFile);
  return openAuthority({ directory: dir, ...(passphrase === undefined ? {} : { passphrase }) });
}
