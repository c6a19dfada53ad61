/** A device's part when it changes hands: it is told where to go, and says when it works there. */
import { readSignedContent, signContent } from '../../cms/signed-content.ts';
import { encodeEnrolmentConfirmation, typeOfEnrolmentMessage } from '../../domain/enrolment.ts';
import type { TransferDocument } from '../../domain/enrolment.ts';
import { deviceTopic } from '../../domain/topic.ts';
import { EnrolmentError } from '../../enrolment/errors.ts';
import { requireTransfer } from '../../enrolment/transfer.ts';
import { PkiError } from '../../pki/errors.ts';
import { patiently } from './bearer.ts';
import type { KeysContext } from './bearer.ts';
import { loadHeldIdentity } from './held-identity.ts';
import type { HeldIdentity } from './held-identity.ts';
import type { Place } from './place.ts';
import { writePlace } from './place.ts';
import { publishOnce } from './publish-once.ts';
import { dropFormer, keepingDirectory } from './slots.ts';
import type { Keeping, KeySlots } from './slots.ts';

/**
 * @returns the transfer that a message on the reply topic offers to this device; undefined for any other message
 * @throws CmsError, PkiError, EnrolmentMessageError; EnrolmentError `enrolment.untrusted`
 */
export function readOffer(
  payload: Uint8Array,
  { path, e2e }: HeldIdentity,
  atMs: number,
): TransferDocument | undefined {
  if (typeOfEnrolmentMessage(readSignedContent(payload).content) !== 'transfer') return undefined;
  const document = requireTransfer(payload, { roots: e2e.roots, atMs });
  if (document.from !== path) {
    throw new EnrolmentError('enrolment.untrusted', `a transfer of ${document.from}`);
  }
  if (!e2e.signature.certificate.sha256.equals(document.deviceCertificate)) {
    throw new EnrolmentError('enrolment.untrusted', 'a transfer of the device with another certificate');
  }
  return document;
}

/**
 * What was sealed in the former place is delivered there, as far as its broker takes it; then the device says that it works
 * in its new place, whereupon what it had in the former one is revoked.
 *
 * @throws KeySlotsError `slots.unproven`, `slots.stopped`
 */
export async function confirmMove(context: KeysContext, slots: KeySlots, place: Place): Promise<void> {
  const { root, bearer, times, signal, clock, log, reconnect } = context;
  const former = slots.former === undefined ? undefined : loadFormer(context, slots.former);
  if (former !== undefined && former.validUntilMs > clock()) {
    await patiently(bearer.deliverFormer(former), signal, times.deliveryMs);
  }
  const identity = bearer.identity();
  const nowMs = clock();
  const confirmation = encodeEnrolmentConfirmation({ id: place.requestId, confirmedAtMs: nowMs });
  await publishOnce({
    ...bearer.brokerOf(identity),
    identity: identity.tls,
    topic: deviceTopic(identity.path, 'enrolment'),
    payload: signContent(confirmation, identity.e2e.signature, nowMs),
    retain: false,
    timeoutMs: times.trialMs,
    signal,
    log,
    reconnect,
  });
  const confirmed = { ...place, isConfirmed: true };
  const envelopes = await bearer.leaveFormer(confirmed);
  if (envelopes > 0) log.error({ from: place.from, envelopes }, 'hand_over.left_behind');
  writePlace(keepingDirectory(root, slots.current), confirmed);
  dropFormer(root);
}

/** @returns undefined if its keys are gone, or damaged: then nothing can be delivered with them */
function loadFormer({ root, passphraseFile, clock }: KeysContext, former: Keeping): HeldIdentity | undefined {
  try {
    return loadHeldIdentity(keepingDirectory(root, former), { nowMs: clock(), passphraseFile });
  } catch (error) {
    if (!(error instanceof PkiError)) throw error;
    return undefined;
  }
}
