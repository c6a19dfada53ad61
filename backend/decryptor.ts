/** From a message to what it says: who made the envelope, whether it belongs to its topic, and what is inside. */
import { CmsError } from '../cms/errors.ts';
import { requireInForce } from '../cms/in-force.ts';
import type { Revocations } from '../cms/in-force.ts';
import type { OpenedEnvelope, Opener } from '../cms/open.ts';
import type { Arrival } from '../database/ingest.ts';
import { CommandError, decodeCommandResult } from '../domain/command.ts';
import type { CommandResult } from '../domain/command.ts';
import { isWithin } from '../domain/namespace.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import { mainGroup } from '../domain/policy.ts';
import { SenmlReader } from '../domain/senml-reader.ts';
import { decodeSenmlJson, SenmlError } from '../domain/senml.ts';
import { layOut } from '../domain/snapshot-layout.ts';
import type { LaidOutSnapshot } from '../domain/snapshot-layout.ts';
import { parseDeviceTopic, parseSharedTopic } from '../domain/topic.ts';
import { PkiError } from '../pki/errors.ts';
import type { VerifiedIdentity } from '../pki/path.ts';

export interface SealedMessage {
  readonly topic: string;
  readonly payload: Buffer;
  readonly receivedMs: number;
}

/** An arrival on its way to the thread that stores it. */
export interface OpenedArrival extends Omit<Arrival, 'snapshot'> {
  readonly snapshot?: LaidOutSnapshot;
}

export type Opened =
  | {
      readonly kind: 'opened';
      readonly arrival: OpenedArrival;
      readonly result: CommandResult | undefined;
      readonly signingTimeMs: number | undefined;
    }
  | RefusedEnvelope;

export interface RefusedEnvelope {
  readonly kind: 'refused';
  /** Stable: a metric's label and a dead letter's reason. */
  readonly reason: string;
  readonly detail: string;
  /** Empty if the topic names no device. */
  readonly devicePath: string;
}

export type Decryptor = (message: SealedMessage) => Opened;

/** Its certificates have not come yet. */
export const unknownOriginator = 'unknown_originator';
/** The revocation list of a CA above it is not there or too old, and the policy is to refuse. */
export const staleLists = 'pki.stale_crl';
/** The refusals that may pass by themselves. */
export const passingReasons: ReadonlySet<string> = new Set([unknownOriginator, staleLists]);

class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly reason: string;
  constructor(reason: string, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** An auditor whose signature must be there. */
export type Releaser = Pick<VerifiedIdentity, 'certificate' | 'chain' | 'root'>;

/**
 * @param openers - tried in order, for a message that one of our services can read
 * @param releasers - auditors; what comes from below one of them must carry its signature too
 * @param group - whose stream is read; the main one unless given
 */
export function createDecryptor(
  openers: readonly [Opener, ...Opener[]],
  lists: Revocations,
  releasers: readonly Releaser[] = [],
  group: string = mainGroup,
): Decryptor {
  const reader = new SenmlReader();
  return (message) => {
    const place = placeOf(message.topic, group);
    try {
      if (place === undefined || (place.name !== 'snapshots' && place.name !== 'commands/result')) {
        throw new Refusal('unexpected_topic', 'no device sends envelopes there');
      }
      const opened = openWithAny(openers, message);
      const origin = requireOrigin(opened, place.device, message.receivedMs, lists);
      requireRelease(opened, place.device, message.receivedMs, lists, releasers);
      return {
        kind: 'opened',
        ...contentOf(reader, opened, place, origin, message),
        signingTimeMs: opened.signingTimeMs,
      };
    } catch (error) {
      const reason = reasonOf(error);
      return {
        kind: 'refused',
        reason,
        detail: String(error),
        devicePath: place?.device ?? '',
      };
    }
  };
}

/** Each stream has numbers of its own, so what belongs to another is not taken (decision 0018). */
function placeOf(topic: string, group: string): ReturnType<typeof parseDeviceTopic> {
  if (group === mainGroup) return parseDeviceTopic(topic);
  const shared = parseSharedTopic(topic);
  return shared?.group === group ? { device: shared.device, name: 'snapshots' } : undefined;
}

/** An error of our own on a peer's bytes is kept for us to look at; it does not stop what comes behind. */
function reasonOf(error: unknown): string {
  if (error instanceof Refusal) return error.reason;
  if (error instanceof CmsError)
    return error.code === 'cms.untrusted_originator' ? unknownOriginator : error.code;
  if (error instanceof PkiError)
    return error.code === 'pki.revoked' || error.code === staleLists
      ? error.code
      : 'certificate_not_in_force';
  return error instanceof SenmlError || error instanceof CommandError ? error.code : 'internal_error';
}

function openWithAny(
  openers: readonly [Opener, ...Opener[]],
  { topic, payload }: Pick<SealedMessage, 'topic' | 'payload'>,
): OpenedEnvelope {
  const [first, ...others] = openers;
  try {
    return first.open(payload, { expectedTopic: topic });
  } catch (error) {
    const [next, ...rest] = others;
    if (next === undefined || !(error instanceof CmsError) || error.code !== 'cms.not_a_recipient')
      throw error;
    return openWithAny([next, ...rest], { topic, payload });
  }
}

/** What identifies an envelope of ours; a bare one of somebody else's has none of it. */
type Origin = Pick<Arrival, 'sequence' | 'digest' | 'signer'>;

function requireOrigin(
  opened: OpenedEnvelope,
  device: NamespacePath,
  receivedMs: number,
  lists: Revocations,
): Origin {
  const { originator, sequence, digest } = opened;
  if (originator.commonName !== device) {
    throw new Refusal('foreign_originator', `${originator.commonName} made it`);
  }
  if (sequence === undefined) throw new Refusal('no_sequence', 'it has no sequence number');
  const certificate = opened.signers[0]?.certificate ?? originator.keyAgreement;
  requireInForce(opened, receivedMs, lists);
  return { sequence, digest, signer: certificate.sha256 };
}

/** Its owner's auditor has to have released it, if that is one who releases (DESIGN §7). */
function requireRelease(
  { signers }: OpenedEnvelope,
  device: NamespacePath,
  receivedMs: number,
  lists: Revocations,
  releasers: readonly Releaser[],
): void {
  const above = releasers.filter(({ certificate }) => isWithin(device, certificate.commonName ?? ''));
  if (above.length === 0) return;
  const released = above.find(({ certificate: { der } }) =>
    signers.some(({ certificate }) => certificate.der.equals(der)),
  );
  if (released === undefined) throw new Refusal('not_released', 'no auditor of its owner has signed it');
  lists.requireUnrevoked(released, receivedMs);
}

function contentOf(
  reader: SenmlReader,
  { content, contentType, previousDigest }: OpenedEnvelope,
  place: { readonly device: NamespacePath; readonly name: string },
  origin: Origin,
  { receivedMs }: SealedMessage,
): { arrival: OpenedArrival; result: CommandResult | undefined } {
  const { device } = place;
  const envelope = {
    device,
    ...origin,
    ...(previousDigest === undefined ? {} : { previousDigest }),
    receivedMs,
  };
  if (place.name === 'snapshots' && contentType === 'senml+cbor') {
    return { arrival: { ...envelope, snapshot: reader.read(device, content) }, result: undefined };
  }
  if (place.name === 'snapshots' && contentType === 'senml+json') {
    return {
      arrival: { ...envelope, snapshot: layOut(decodeSenmlJson(device, content)) },
      result: undefined,
    };
  }
  if (place.name === 'commands/result' && contentType === 'command+cbor') {
    return { arrival: envelope, result: decodeCommandResult(content) };
  }
  throw new Refusal('unexpected_content', `${contentType ?? 'content of no stated type'} on ${place.name}`);
}
