/** Enrols one device by its token: keys, request, answer, certificates; each step is taken up where it was cut off. */
import type { Clock } from '../../domain/clock.ts';
import { EnrolmentError } from '../../enrolment/errors.ts';
import { exchange } from '../../enrolment/exchange.ts';
import {
  forgetRequest,
  installCertificates,
  isEnrolled,
  pendingRequest,
  prepareRequest,
} from '../../enrolment/key-directory.ts';
import type { KeyTokens } from '../../enrolment/key-directory.ts';
import type { Token } from '../../enrolment/token.ts';
import { readToken, tokenIdentity } from '../../enrolment/token.ts';
import type { CurveName } from '../../pki/certificate.ts';
import type { Log } from '../../runtime/log.ts';
import { packageVersion } from '../../runtime/version.ts';

export interface TokenEnrolment {
  /** The text of the token. */
  readonly token: string;
  readonly directory: string;
  readonly passphrase: string | undefined;
  /** Where keys are made, instead of in the directory; the passphrase is the PIN. */
  readonly tokens?: KeyTokens;
  readonly timeoutMs: number | undefined;
  readonly print: (line: string) => void;
  readonly log: Log;
  readonly clock: Clock;
}

/** @throws EnrolmentError, PkiError */
export async function enrolByToken(options: TokenEnrolment): Promise<void> {
  const { directory, timeoutMs, print, log, clock } = options;
  if (isEnrolled(directory)) {
    if (pendingRequest(directory) !== undefined) forgetRequest(directory); // cut off right before its end
    return print(`${directory} holds an identity already`);
  }
  const token = readToken(options.token, clock());
  const pending = prepare(token, options);
  print(`${token.path}: asks ${token.broker.host}:${token.broker.port}, request ${pending.request.id}`);
  const reply = await exchange({
    broker: token.broker,
    identity: tokenIdentity(token),
    pending,
    roots: [token.roots.e2e],
    onWaiting: ({ detail }) => print(`${token.path}: ${detail}`),
    clock,
    log,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  });
  if (reply.outcome !== 'issued') {
    forgetRequest(directory);
    throw new EnrolmentError('enrolment.refused', `${token.path}: refused: ${reply.detail}`);
  }
  const roots = { tls: [token.roots.tls], e2e: [token.roots.e2e] };
  const name = installCertificates(directory, pending, reply, { roots, nowMs: clock() });
  print(`${name}: enrolled, identity in ${directory}`);
}

function prepare(
  token: Token,
  { directory, passphrase, tokens, clock }: TokenEnrolment,
): ReturnType<typeof prepareRequest> {
  const [certificate] = token.sig.chain;
  if (certificate === undefined)
    throw new EnrolmentError('enrolment.malformed_token', 'a token without certificates');
  const tlsCurve: CurveName = token.tls.chain[0]?.curve ?? 'P-256';
  const e2eCurve: CurveName = certificate.curve ?? 'P-256';
  return prepareRequest(directory, {
    kind: 'enrol',
    path: token.path,
    signer: { ...token.sig, certificate },
    curves: { tls: tlsCurve, sig: e2eCurve, enc: e2eCurve },
    agentVersion: packageVersion(),
    passphrase,
    ...(tokens === undefined ? {} : { tokens }),
    nowMs: clock(),
  });
}
