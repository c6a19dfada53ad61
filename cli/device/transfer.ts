/** `plombe device transfer`: a device changes hands with three signatures, each made where its key is. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { countersignContent, signContent } from '../../cms/signed-content.ts';
import { systemClock } from '../../domain/clock.ts';
import { encodeTransferDocument } from '../../domain/enrolment.ts';
import { parseDevicePath } from '../../domain/namespace.ts';
import type { NamespacePath } from '../../domain/namespace.ts';
import { deviceTopic } from '../../domain/topic.ts';
import { readTransfer, requireTransfer } from '../../enrolment/transfer.ts';
import type { SignedTransfer } from '../../enrolment/transfer.ts';
import { openLink } from '../../mqtt/link.ts';
import type { Certificate } from '../../pki/certificate.ts';
import { certificatesFromPem } from '../../pki/certificate.ts';
import type { Identity } from '../../pki/identity.ts';
import { readTextFile } from '../../pki/pem-file.ts';
import type { Endpoint } from '../../runtime/config.ts';
import { writeFileAtomically } from '../../runtime/files.ts';
import { createLog } from '../../runtime/log.ts';
import { parseDevice, parseEndpoint, parseWhole } from '../arguments.ts';
import { print } from '../print.ts';
import { signerOf, withSigner } from '../signer.ts';
import type { SignerOptions } from '../signer.ts';
import { publishedCertificate } from './published-certificate.ts';

const dayMs = 24 * 60 * 60 * 1000;
const lookUpMs = 30_000;
const daysMax = 365;

export function transferCommand(): Command {
  return new Command('transfer')
    .description(
      'Hands a device over to another account: its owner, the new owner and the vendor sign one file.',
    )
    .addCommand(releaseCommand())
    .addCommand(acceptCommand())
    .addCommand(approveCommand())
    .addCommand(showCommand());
}

interface ReleaseOptions extends SignerOptions {
  readonly from: NamespacePath;
  readonly to: NamespacePath;
  readonly certificate?: string;
  readonly broker?: Endpoint;
  readonly brokerName?: string;
  readonly newBroker?: Endpoint;
  readonly newBrokerName?: string;
  readonly days: number;
  readonly out: string;
}

function releaseCommand(): Command {
  return withSigner(new Command('release'), "the owner's account or master account")
    .description('Its owner lets a device go: writes the file, with the first signature.')
    .requiredOption('--from <path>', 'the device', parseDevice)
    .requiredOption('--to <path>', 'its new place', parseDevice)
    .option('--broker <host:port>', 'where it connects now: its SIG certificate is read there', parseEndpoint)
    .option('--broker-name <name>', "the name that that broker's certificate carries")
    .option(
      '--certificate <file>',
      "its SIG certificate, such as sig.crt.pem, where it isn't read from a broker",
    )
    .option(
      '--new-broker <host:port>',
      'where it connects in its new place (default: where it does now)',
      parseEndpoint,
    )
    .option('--new-broker-name <name>', "the name that that broker's certificate carries")
    .option('--days <days>', 'until when it must be over', parseWhole(daysMax), 14)
    .requiredOption('--out <file>', 'the transfer')
    .action(release);
}

async function release(options: ReleaseOptions): Promise<void> {
  const { from, to, newBroker, newBrokerName, days, out } = options;
  if ((newBroker === undefined) !== (newBrokerName === undefined)) {
    throw new Error('--new-broker and --new-broker-name belong together');
  }
  const identity = signerOf(options);
  const { sha256 } = await certificateOf(options, identity);
  const nowMs = systemClock();
  const document = encodeTransferDocument({
    id: randomUUID(),
    from,
    to,
    deviceCertificate: sha256,
    notBeforeMs: nowMs,
    expiresAtMs: nowMs + days * dayMs,
    ...(newBroker === undefined || newBrokerName === undefined
      ? {}
      : { broker: { ...newBroker, name: newBrokerName } }),
  });
  const message = signContent(document, identity.e2e.signature, nowMs);
  writeFileAtomically(out, message);
  print(text(readTransfer(message, { roots: identity.e2e.roots, atMs: nowMs })));
}

/** The device is bound by its certificate, so that no other equipment takes the place. */
async function certificateOf(options: ReleaseOptions, identity: Identity): Promise<Certificate> {
  const { from, certificate: file, broker, brokerName } = options;
  if (file !== undefined) {
    const [certificate] = certificatesFromPem(readTextFile(file));
    if (certificate?.commonName === from) return certificate;
    throw new Error(`${file} is no certificate of ${from}`);
  }
  if (broker === undefined || brokerName === undefined) {
    throw new Error(
      "wanted is --broker and --broker-name, or --certificate with the device's SIG certificate",
    );
  }
  return publishedCertificate({
    device: from,
    identity,
    broker: { ...broker, name: brokerName },
    timeoutMs: lookUpMs,
    nowMs: systemClock(),
    log: createLog('device', 'silent'),
  });
}

function acceptCommand(): Command {
  return withSigner(new Command('accept'), "the new owner's account or master account")
    .description('The new owner takes it: adds a signature to the file.')
    .argument('<file>', 'what `plombe device transfer release` wrote')
    .action((file: string, options: SignerOptions) => {
      sign(file, signerOf(options));
    });
}

interface ApproveOptions extends SignerOptions {
  readonly broker: Endpoint;
  readonly brokerName: string;
}

function approveCommand(): Command {
  return withSigner(new Command('approve'), 'MRO-Admin')
    .description('The vendor agrees: adds the last signature, and gives the file to the registrar.')
    .argument('<file>', 'signed by both owners')
    .requiredOption('--broker <host:port>', "the vendor's broker", parseEndpoint)
    .requiredOption('--broker-name <name>', "the name that the broker's certificate carries")
    .action(async (file: string, options: ApproveOptions) => {
      const identity = signerOf(options);
      const message = sign(file, identity);
      const { from } = requireTransfer(message, { roots: identity.e2e.roots, atMs: systemClock() });
      const device = parseDevicePath(from);
      if (device === undefined) throw new TypeError(`${from} is no device`);
      const link = openLink({
        broker: options.broker,
        brokerName: options.brokerName,
        identity: identity.tls,
        clientId: `transfer-of-${identity.tls.commonName}`,
        cleanSession: true,
        log: createLog('device', 'silent'),
      });
      try {
        await link.publish(deviceTopic(device, 'enrolment/approval'), message, { qos: 1 });
      } finally {
        await link.close();
      }
      print(`${from}: the registrar has it, and tells the device`);
    });
}

function showCommand(): Command {
  return new Command('show')
    .description('Shows a transfer, and who has not signed it yet.')
    .argument('<file>', 'a transfer')
    .requiredOption('--root <file>', 'the pinned E2E root, PEM')
    .action((file: string, { root }: { root: string }) => {
      print(text(read(file, certificatesFromPem(readTextFile(root))).transfer));
    });
}

function read(file: string, roots: readonly Certificate[]): { message: Buffer; transfer: SignedTransfer } {
  const message = readFileSync(file);
  return { message, transfer: readTransfer(message, { roots, atMs: systemClock() }) };
}

/** Nobody signs what cannot be read, and nothing is written that would not be believed. */
function sign(file: string, { e2e }: Identity): Buffer {
  const { message } = read(file, e2e.roots);
  const nowMs = systemClock();
  const signed = countersignContent(message, e2e.signature, nowMs);
  const transfer = readTransfer(signed, { roots: e2e.roots, atMs: nowMs });
  writeFileAtomically(file, signed);
  print(text(transfer));
  return signed;
}

function text({ document, missing }: SignedTransfer): string {
  const { from, to, broker, expiresAtMs } = document;
  return [
    `${from} becomes ${to}`,
    ...(broker === undefined ? [] : [`  at ${broker.host}:${broker.port}, which must be ${broker.name}`]),
    `  until ${new Date(expiresAtMs).toISOString()}`,
    `  the device whose SIG certificate is SHA-256 ${Buffer.from(document.deviceCertificate).toString('hex')}`,
    missing.length === 0 ? '  signed by all' : `  not signed yet by ${missing.join(', nor by ')}`,
  ].join('\n');
}
