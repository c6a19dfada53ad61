/** Looks into one envelope that leaves or comes in: who made it, who can read it, what is in it, and whether all that is right. */
import { hash } from 'node:crypto';
import { CmsError } from '../cms/errors.ts';
import { identifies } from '../cms/identifier.ts';
import type { CertificateIdentifier } from '../cms/identifier.ts';
import { requireInForce } from '../cms/in-force.ts';
import { inspect } from '../cms/inspect.ts';
import type { OpenedEnvelope, Opener } from '../cms/open.ts';
import { CommandError, decodeCommand, decodeCommandResult } from '../domain/command.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import { decodeSenmlCbor, decodeSenmlJson, SenmlError } from '../domain/senml.ts';
import type { PassageLeaf, PassageRecipient } from '../ledger/leaf.ts';
import { streamOf } from '../ledger/stream.ts';
import { PkiError } from '../pki/errors.ts';
import type { RevocationLists } from '../pki/revocation-lists.ts';
import { mayCommand } from '../policy/command-issuers.ts';
import type { KnownRecipient } from './policy-check.ts';
import { channelsOf } from './record.ts';
import type { Entry } from './record.ts';

export interface Examination {
  readonly opener: Opener;
  readonly recipients: readonly KnownRecipient[];
  readonly lists: RevocationLists;
  /** Digests of what has the sequence number already, in the same stream of a device. */
  readonly digestsOf: (stream: string, sequence: number) => readonly Buffer[];
}

/** An envelope on its way: from a device, or, if it is a command, to one. */
export interface Passing {
  readonly device: NamespacePath;
  readonly content: 'snapshot' | 'result' | 'command';
  /** A command that waits for us goes on only if we let it. */
  readonly waits: boolean;
  readonly topic: string;
  readonly envelope: Buffer;
  readonly receivedMs: number;
}

/** Why an entry is an alarm; the codes of `cms/`, `pki/`, `domain/senml.ts` and `domain/command.ts` say what they say there. */
export type AlarmReason =
  | 'audit.foreign_recipient' // somebody who is not configured can read it
  | 'audit.revoked_recipient' // somebody can read it whose certificate is revoked
  | 'audit.foreign_originator' // made by another identity than the device whose topic it came by, or than one that commands it
  | 'audit.foreign_content' // not what belongs to the topic
  | 'audit.sequence_reused' // another envelope has the same number
  | 'audit.chain_broken'; // it refers to another envelope than the one that was recorded before it

const detailLengthMax = 500;
/** RFC 5280 §4.1.2.2: 20 octets; nobody has verified this one. */
const serialNumberLengthMax = 80;

/** @returns the entry of an envelope that passes; nothing that a sender can do makes it throw */
export function examine(passing: Passing, examination: Examination): Entry {
  const { topic, envelope, receivedMs } = passing;
  const common = {
    kind: 'passage',
    timeMs: receivedMs,
    direction: passing.content === 'command' ? 'in' : 'out',
    topic,
    bytes: envelope.length,
    outcome: 'passed',
    policy: undefined,
    decidedBy: undefined,
  } as const;
  try {
    const opened = examination.opener.open(envelope, { expectedTopic: topic });
    const recipients = named(opened.recipients, examination.recipients);
    const { sequence, signingTimeMs, digest, previousDigest } = opened;
    const { channelNames, command, snapshotMs, fault: contentFault } = contentOf(passing, opened);
    const alarm =
      recipientFault(recipients, opened.otherRecipients) ??
      revokedRecipientFault(opened.recipients, passing, examination) ??
      originatorFault(passing, opened) ??
      inForceFault(opened, passing, examination) ??
      contentFault ??
      orderFault(common, opened, examination);
    const channels = channelNames && channelsOf(channelNames);
    const envelopeSays = { sequence, signingTimeMs, recipients, digest, previousDigest };
    return {
      passage: { ...common, ...envelopeSays, channels, alarm: bounded(alarm) },
      channelNames,
      command,
      snapshotMs,
    };
  } catch (error) {
    if (!(error instanceof CmsError)) throw error;
    const alarm = bounded({ reason: error.code, detail: error.message });
    const envelopeSays = outside(envelope, examination.recipients);
    const passage = { ...common, ...envelopeSays, channels: undefined, alarm };
    return { passage, channelNames: undefined, command: undefined };
  }
}

type EnvelopeSays = Pick<
  PassageLeaf,
  'sequence' | 'signingTimeMs' | 'recipients' | 'digest' | 'previousDigest'
>;

/** What an envelope that cannot be opened says on its outside; nothing of it is verified. */
function outside(envelope: Buffer, known: readonly KnownRecipient[]): EnvelopeSays {
  try {
    const { agreements, digest, info, signingTimeMs } = inspect(envelope);
    const recipients = named(
      agreements.flatMap((agreement) => agreement.recipients),
      known,
    );
    const { sequence, previousDigest } = info ?? {};
    return { sequence, signingTimeMs, recipients, digest, previousDigest };
  } catch (error) {
    if (!(error instanceof CmsError)) throw error;
    return {
      sequence: undefined,
      signingTimeMs: undefined,
      recipients: [],
      digest: hash('sha256', envelope, 'buffer'),
      previousDigest: undefined,
    };
  }
}

interface Fault {
  readonly reason: string;
  readonly detail: string;
}

function fault(reason: AlarmReason, detail: string): Fault {
  return { reason, detail };
}

function named(
  identifiers: readonly CertificateIdentifier[],
  known: readonly KnownRecipient[],
): PassageRecipient[] {
  return identifiers.map((identifier) => ({
    identifier:
      identifier.kind === 'keyIdentifier'
        ? identifier.keyIdentifier.toString('hex')
        : `serial number ${identifier.serialNumber.toString('hex').slice(0, serialNumberLengthMax)}`,
    name: known.find(({ certificate }) => identifies(identifier, certificate))?.name,
  }));
}

/** @param others - how many recipients are addressed in a way that we cannot read, so that anybody may be meant */
function recipientFault(recipients: readonly PassageRecipient[], others: number): Fault | undefined {
  const foreign = recipients
    .filter((recipient) => recipient.name === undefined)
    .map((recipient) => recipient.identifier);
  if (others > 0) foreign.push(`${others} of a kind that is not known`);
  return foreign.length === 0 ? undefined : fault('audit.foreign_recipient', foreign.join(', '));
}

function revokedRecipientFault(
  identifiers: readonly CertificateIdentifier[],
  { receivedMs }: Passing,
  { recipients, lists }: Examination,
): Fault | undefined {
  const addressed = recipients.filter(({ certificate }) =>
    identifiers.some((identifier) => identifies(identifier, certificate)),
  );
  for (const { verified } of addressed) {
    const found = verified && pkiFault(() => lists.requireUnrevoked(verified, receivedMs));
    if (found?.reason === 'pki.revoked') return fault('audit.revoked_recipient', found.detail);
    if (found !== undefined) return found;
  }
  return undefined;
}

function inForceFault(
  opened: OpenedEnvelope,
  { receivedMs }: Passing,
  { lists }: Examination,
): Fault | undefined {
  return pkiFault(() => requireInForce(opened, receivedMs, lists));
}

function pkiFault(check: () => void): Fault | undefined {
  try {
    check();
    return undefined;
  } catch (error) {
    if (!(error instanceof PkiError)) throw error;
    return { reason: error.code, detail: error.message };
  }
}

function originatorFault({ device, content }: Passing, { originator }: OpenedEnvelope): Fault | undefined {
  const { commonName } = originator;
  if (content === 'command' ? mayCommand(commonName, device) : commonName === device) return undefined;
  return fault('audit.foreign_originator', `${originator.commonName} made it`);
}

function contentOf(
  { device, content: wanted }: Passing,
  { contentType, content }: OpenedEnvelope,
): Pick<Entry, 'command' | 'snapshotMs'> & { channelNames: string[] | undefined; fault: Fault | undefined } {
  try {
    if (wanted === 'result' && contentType === 'command+cbor') {
      decodeCommandResult(content);
      return { channelNames: undefined, fault: undefined };
    }
    if (wanted === 'command' && contentType === 'command+cbor') {
      return { channelNames: undefined, command: decodeCommand(content), fault: undefined };
    }
    if (wanted === 'snapshot' && (contentType === 'senml+cbor' || contentType === 'senml+json')) {
      const decode = contentType === 'senml+cbor' ? decodeSenmlCbor : decodeSenmlJson;
      const { timeMs: snapshotMs, readings } = decode(device, content);
      return { channelNames: readings.map(({ channel }) => channel), snapshotMs, fault: undefined };
    }
    const found = `${contentType ?? 'content of no stated type'} in place of a ${wanted}`;
    return { channelNames: undefined, fault: fault('audit.foreign_content', found) };
  } catch (error) {
    if (!(error instanceof SenmlError || error instanceof CommandError)) throw error;
    return { channelNames: undefined, fault: { reason: error.code, detail: error.message } };
  }
}

function orderFault(
  place: Pick<PassageLeaf, 'topic' | 'direction'>,
  { sequence, digest, previousDigest }: OpenedEnvelope,
  { digestsOf }: Examination,
): Fault | undefined {
  // Several may command one device, each with numbers of its own; the device obeys a command once, whatever its number.
  if (sequence === undefined || place.direction === 'in') return undefined;
  const stream = streamOf(place);
  if (digestsOf(stream, sequence).some((known) => !known.equals(digest))) {
    return fault('audit.sequence_reused', `number ${sequence} is recorded with another digest`);
  }
  const before = digestsOf(stream, sequence - 1);
  if (before.length > 0 && !before.some((known) => previousDigest?.equals(known) === true)) {
    return fault('audit.chain_broken', `it does not refer to the envelope with number ${sequence - 1}`);
  }
  return undefined;
}

function bounded(alarm: Fault | undefined): Fault | undefined {
  return alarm && { reason: alarm.reason, detail: alarm.detail.slice(0, detailLengthMax) };
}
