/** Asks for the certificates of new keys: makes the keys in the spare slot, sends the request until it is answered. */
import { KeyObject } from 'node:crypto';
import type { TransferDocument } from '../../domain/enrolment.ts';
import { EnrolmentError } from '../../enrolment/errors.ts';
import { exchange } from '../../enrolment/exchange.ts';
import { installCertificates, prepareRequest } from '../../enrolment/key-directory.ts';
import type { PendingRequest } from '../../enrolment/key-directory.ts';
import type { Certificate } from '../../pki/certificate.ts';
import { readPassphrase } from '../../pki/identity.ts';
import type { SigningKey } from '../../pki/signing-key.ts';
import { parseTokenUri } from '../../pki/token-key.ts';
import type { Token } from '../../pki/token-key.ts';
import type { KeysContext } from './bearer.ts';
import { writePlace } from './place.ts';
import { keepingDirectory, openSlot } from './slots.ts';
import type { KeySlots } from './slots.ts';

/** @param transfer - absent: a renewal */
export function makeRequest(
  { root, passphraseFile, bearer, agentVersion, clock, log }: KeysContext,
  { spare }: KeySlots,
  transfer?: TransferDocument,
): PendingRequest {
  const { path, tls, e2e } = bearer.identity();
  const kind = transfer === undefined ? 'renew' : 'transfer';
  const curveOf = ({ curve }: Certificate) => curve ?? 'P-256';
  const pending = prepareRequest(openSlot(root, spare), {
    kind,
    path: transfer?.to ?? path,
    signer: e2e.signature,
    curves: {
      tls: curveOf(tls.certificate),
      sig: curveOf(e2e.signature.certificate),
      enc: curveOf(e2e.keyAgreement.certificate),
    },
    agentVersion,
    passphrase: readPassphrase(passphraseFile),
    tokens: { tls: tls.tokenKey?.token, sig: tokenOf(e2e.signature.key) },
    nowMs: clock(),
    ...(transfer === undefined ? {} : { transfer: transfer.id }),
  });
  const { id, path: name } = pending.request;
  log.info({ id, kind, name, slot: spare }, 'certificates.requested');
  return pending;
}

/**
 * Sends the request until it is answered, and keeps what was answered.
 *
 * @param onWaiting - told that the owner has to approve it first
 * @throws EnrolmentError `enrolment.refused`, `enrolment.unanswered`, `enrolment.wrong_reply`; PkiError of `verifyPath`
 */
export async function getAnswer(
  context: KeysContext,
  { spare }: KeySlots,
  pending: PendingRequest,
  onWaiting: (detail: string) => void,
): Promise<void> {
  const { root, bearer, times, signal, clock, log, reconnect } = context;
  const { path: device, tls, e2e, place } = bearer.identity();
  const { broker, brokerName, requireUnrevoked } = bearer.brokerOf(bearer.identity());
  const [name = ''] = [brokerName].flat();
  const reply = await exchange({
    broker: { host: broker.host, port: broker.port, name },
    brokerName,
    requireUnrevoked,
    identity: tls,
    pending,
    roots: e2e.roots,
    timeoutMs: times.answerMs,
    signal,
    onWaiting: ({ detail }) => onWaiting(detail),
    clock,
    log,
    ...(reconnect === undefined ? {} : { reconnect }),
  });
  if (reply.outcome === 'refused') {
    throw new EnrolmentError('enrolment.refused', `${device}: refused: ${reply.detail}`);
  }
  const directory = keepingDirectory(root, spare);
  const { id, kind } = pending.request;
  // Before the certificates: whoever finds them finds where they are good for.
  if (kind === 'transfer') {
    const address = reply.broker ?? place?.broker;
    writePlace(directory, { from: device, broker: address, requestId: id, isConfirmed: false });
  } else if (place !== undefined) writePlace(directory, place);
  const roots = { tls: tls.roots, e2e: e2e.roots };
  installCertificates(directory, pending, reply, { roots, nowMs: clock() });
  log.info({ id, kind, slot: spare }, 'certificates.installed');
}

/** The next key is made where the one before it is. */
function tokenOf(key: SigningKey): Token | undefined {
  return key instanceof KeyObject ? undefined : parseTokenUri(key.uri);
}
