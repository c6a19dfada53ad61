/** Decides on a request that waits with the broker for its owner: shows who asks for what, signs the decision, waits for what comes of it. */
import { hash } from 'node:crypto';
import { CmsError } from '../../cms/errors.ts';
import { readSignedContent, signContent } from '../../cms/signed-content.ts';
import type { Clock } from '../../domain/clock.ts';
import {
  decodeEnrolmentReply,
  decodeEnrolmentRequest,
  encodeEnrolmentApproval,
  EnrolmentMessageError,
  enrolmentServiceName,
} from '../../domain/enrolment.ts';
import type { BrokerAddress, EnrolmentApproval, EnrolmentReply } from '../../domain/enrolment.ts';
import { enrolmentTopic } from '../../domain/topic.ts';
import { EnrolmentError } from '../../enrolment/errors.ts';
import { onlySigner, verifyMessage } from '../../enrolment/signed-message.ts';
import { openLink } from '../../mqtt/link.ts';
import type { Certificate } from '../../pki/certificate.ts';
import { PkiError } from '../../pki/errors.ts';
import { loadIdentity } from '../../pki/identity.ts';
import type { E2eIdentity } from '../../pki/identity.ts';
import type { Log } from '../../runtime/log.ts';
import { requestText } from './show.ts';

export interface Decision {
  readonly path: string;
  readonly identityDirectory: string;
  readonly passphraseFile: string | undefined;
  readonly broker: BrokerAddress;
  readonly decision: 'approve' | 'refuse' | 'show';
  readonly detail: string;
  /** Of a factory name: the place that it gets. */
  readonly asPath: string | undefined;
  readonly timeoutMs: number;
  readonly print: (line: string) => void;
  readonly log: Log;
  readonly clock: Clock;
}

/** @throws EnrolmentError `enrolment.unanswered` if nothing waits, or no answer comes; `enrolment.refused` */
export async function decide(options: Decision): Promise<void> {
  const { path, identityDirectory, passphraseFile, broker, decision, timeoutMs, print, log, clock } = options;
  const topic = enrolmentTopic(path);
  if (topic === undefined) throw new EnrolmentError('enrolment.wrong_directory', `${path} is no device`);
  const { tls, e2e } = loadIdentity(identityDirectory, { passphraseFile, nowMs: clock() });
  let shown: EnrolmentReply | undefined;
  let timer: NodeJS.Timeout | undefined;
  let close = (): Promise<void> => Promise.resolve();
  try {
    const last = await new Promise<EnrolmentReply>((resolve, reject) => {
      const take = (payload: Buffer): void => {
        const reply = readReply(payload, e2e.roots, options);
        if (reply === undefined) return;
        const isAnswer = shown !== undefined && shown.id === reply.id && reply.outcome !== 'waiting';
        if (isAnswer) return resolve(reply);
        if (shown !== undefined || reply.outcome !== 'waiting' || reply.request === undefined) return;
        shown = reply;
        print(`${requestText(reply.request)}${reply.detail}`);
        if (decision === 'show') return resolve(reply);
        const approval = signApproval(reply, e2e, { ...options, decision });
        link.publish(`${topic}/approval`, approval, { qos: 1 }).catch(reject);
      };
      const link = openLink({
        broker,
        brokerName: broker.name,
        identity: tls,
        clientId: `approval-of-${tls.commonName}`,
        cleanSession: true,
        subscriptions: [{ filter: `${topic}/reply`, qos: 1 }],
        onMessage: ({ payload }, acknowledge) => {
          acknowledge();
          take(payload);
        },
        log,
      });
      close = () => link.close();
      timer = setTimeout(() => reject(unanswered(options, link.connected, shown)), timeoutMs);
    });
    if (decision === 'show') return;
    print(`${path}: ${last.outcome}${last.detail === '' ? '' : `: ${last.detail}`}`);
    const wanted = decision === 'approve' ? 'issued' : 'refused';
    if (last.outcome !== wanted) throw new EnrolmentError('enrolment.refused', `${path}: ${last.detail}`);
  } finally {
    clearTimeout(timer);
    await close();
  }
}

function signApproval(
  { id, requestDigest }: EnrolmentReply,
  { signature }: E2eIdentity,
  { decision, detail, asPath, clock }: Decision & Pick<EnrolmentApproval, 'decision'>,
): Buffer {
  const decidedAtMs = clock();
  const approval = {
    id,
    requestDigest,
    decision,
    detail,
    decidedAtMs,
    ...(asPath === undefined ? {} : { path: asPath }),
  };
  return signContent(encodeEnrolmentApproval(approval), signature, decidedAtMs);
}

/** @returns undefined for what whoever certifies did not say, or what is not about this device */
function readReply(
  payload: Buffer,
  roots: readonly Certificate[],
  { path, clock, log }: Decision,
): EnrolmentReply | undefined {
  if (payload.length === 0) return undefined;
  try {
    const message = verifyMessage(payload, { roots, atMs: clock() });
    if (onlySigner(message).commonName !== enrolmentServiceName) return undefined;
    const reply = decodeEnrolmentReply(message.content);
    if (reply.request === undefined) return reply;
    // What is shown is what is approved: the digest is of the request that came along, and it is this device's.
    const { content } = readSignedContent(reply.request);
    const isSame = hash('sha256', content, 'buffer').equals(reply.requestDigest);
    return isSame && decodeEnrolmentRequest(content).path === path ? reply : undefined;
  } catch (error) {
    const isTheirs =
      error instanceof CmsError ||
      error instanceof PkiError ||
      error instanceof EnrolmentError ||
      error instanceof EnrolmentMessageError;
    if (!isTheirs) throw error;
    log.warn({ reason: error.code, detail: error.message }, 'reply.ignored');
    return undefined;
  }
}

function unanswered(
  { path, broker, timeoutMs }: Decision,
  isConnected: boolean,
  shown: EnrolmentReply | undefined,
): EnrolmentError {
  const where = `${broker.host}:${broker.port}`;
  const seconds = Math.round(timeoutMs / 1000);
  if (!isConnected)
    return new EnrolmentError('enrolment.unanswered', `${where} cannot be reached, or lets us not in`);
  const what =
    shown === undefined ? `no request of ${path} waits at ${where}` : `no answer came within ${seconds} s`;
  return new EnrolmentError('enrolment.unanswered', what);
}
