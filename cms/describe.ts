/** An envelope's summary in words, for people: on a terminal and on a page. */
import type { CertificateIdentifier } from './identifier.ts';
import type { AgreementSummary, EnvelopeSummary } from './inspect.ts';
import type { OriginatorIdentifier } from './recipient-info.ts';

/** @returns names and texts, in the order of the structure; a text may hold whatever the envelope says, also control characters */
export function describe(summary: EnvelopeSummary): [name: string, text: string][] {
  const { info } = summary;
  const lines: [string, string | number | undefined][] = [
    [
      'form',
      summary.form === 'signed' ? 'SignedData over AuthEnvelopedData' : 'AuthEnvelopedData, not signed',
    ],
    [
      'size',
      `${summary.envelopeBytes} bytes, content ${summary.contentBytes} (${summary.contentEncryption})`,
    ],
    ['digest', summary.digest.toString('hex')],
    ['sealed at', timeText(summary.signingTimeMs)],
    ['topic', info?.topic],
    ['sequence', info?.sequence],
    ['previous', info === undefined ? undefined : (info.previousDigest?.toString('hex') ?? 'none')],
    ['content', info && `${info.contentType}, ${info.encoding}`],
    ...(info?.originatorHashes ?? []).map((hash): [string, string] => [
      'originator certificate',
      hash.toString('hex'),
    ]),
    ...summary.agreements.flatMap(agreementLines),
    ['other recipients', summary.otherRecipients || undefined],
    ...summary.signers.map(({ signer, algorithm, signingTimeMs }): [string, string] => [
      'signer',
      [`${identifierText(signer)} by ${algorithm}`, timeText(signingTimeMs)].filter(Boolean).join(', '),
    ]),
    ...summary.certificates.map((subject): [string, string] => ['certificate', subject]),
  ];
  return lines.flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]]));
}

function agreementLines(agreement: AgreementSummary): [string, string][] {
  const { originator, keyAgreement, keyWrap, recipients, kemRecipient } = agreement;
  const both = kemRecipient === undefined ? '' : ` and, by ML-KEM, ${identifierText(kemRecipient)}`;
  return [
    ['originator', `${identifierText(originator)} by ${keyAgreement}, ${keyWrap}`],
    ...recipients.map((recipient): [string, string] => ['recipient', `${identifierText(recipient)}${both}`]),
  ];
}

function identifierText(identifier: CertificateIdentifier | OriginatorIdentifier): string {
  if (identifier.kind === 'keyIdentifier') return `key ${identifier.keyIdentifier.toString('hex')}`;
  if (identifier.kind === 'publicKey') return `public key ${identifier.point.toString('hex')}`;
  return `serial number ${identifier.serialNumber.toString('hex')}`;
}

function timeText(timeMs: number | undefined): string | undefined {
  return timeMs === undefined ? undefined : new Date(timeMs).toISOString();
}
