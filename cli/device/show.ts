/** Tokens, requests and identities as text for people. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { readSignedContent } from '../../cms/signed-content.ts';
import { decodeEnrolmentRequest } from '../../domain/enrolment.ts';
import { keepingDirectory, readSlots } from '../../device-agent/key-slots/slots.ts';
import type { Keeping } from '../../device-agent/key-slots/slots.ts';
import { pendingRequest } from '../../enrolment/key-directory.ts';
import { readToken, tokenExpiresAtMs } from '../../enrolment/token.ts';
import { certificatesFromPem } from '../../pki/certificate.ts';
import { readTextFile } from '../../pki/pem-file.ts';
import { parseRequest } from '../../pki/request.ts';
import { certificateText } from '../pki-show.ts';

const keyNames = ['tls', 'sig', 'enc'] as const;

export function tokenText(text: string, nowMs: number): string {
  const token = readToken(text, nowMs);
  const { path: device, broker } = token;
  return lines('token', [
    ['device', device],
    ['broker', `${broker.host}:${broker.port}, which must be ${broker.name}`],
    ['valid until', new Date(tokenExpiresAtMs(token)).toISOString()],
    ...[token.tls, token.sig].flatMap(({ chain }) =>
      chain.slice(0, 1).map(({ serialNumber }): Row => ['serial number', serialNumber.toString('hex')]),
    ),
  ]);
}

/** @param message - signed; what it says of its keys was proven, who signed it was not verified here */
export function requestText(message: Uint8Array): string {
  const { content, signatures } = readSignedContent(message);
  const request = decodeEnrolmentRequest(content);
  const signers = signatures.map(({ chain: [leaf] }) => leaf);
  return lines('request', [
    ['device', request.path],
    ['to', request.kind],
    ['id', request.id],
    ['asked', new Date(request.requestedAtMs).toISOString()],
    ['agent', request.agentVersion],
    ...signers.map((leaf): Row => {
      return [
        'signed by',
        `${String(leaf.commonName)}, valid until ${new Date(leaf.notAfterMs).toISOString()}`,
      ];
    }),
    ...keyNames.map((name): Row => [`${name} key`, `SHA-256 ${keyDigest(request.requests[name])}`]),
  ]);
}

/** The identity in use, and whatever else the slots of a device hold. */
export function directoriesText(root: string, nowMs: number): string {
  const { current, former, spare } = readSlots(root);
  const textOf = (keeping: Keeping): string => directoryText(keepingDirectory(root, keeping), nowMs);
  const isSpareUsed = spare !== former && existsSync(keepingDirectory(root, spare));
  return [
    current === 'plain' ? textOf(current) : `${current}, in use\n${textOf(current)}`,
    ...(former === undefined
      ? []
      : [`${former}, the one before: something waits that it sealed\n${textOf(former)}`]),
    ...(isSpareUsed ? [`${spare}, the next one\n${textOf(spare)}`] : []),
  ].join('\n');
}

function directoryText(directory: string, nowMs: number): string {
  const pending = pendingRequest(directory);
  const found = keyNames.flatMap((name) => {
    const file = path.join(directory, `${name}.crt.pem`);
    return existsSync(file) ? certificatesFromPem(readTextFile(file)) : [];
  });
  const expired = found.filter(({ notAfterMs }) => notAfterMs < nowMs).length;
  return [
    ...found.map(certificateText),
    ...(pending === undefined ? [] : [requestText(pending.message)]),
    expired === 0 ? '' : `${expired} of them expired: the device may ask its owner for new ones`,
    found.length + (pending === undefined ? 0 : 1) === 0
      ? `${directory} holds neither certificates nor a request`
      : '',
  ]
    .filter((text) => text !== '')
    .join('\n')
    .trimEnd();
}

type Row = readonly [label: string, value: string];

function keyDigest(der: Uint8Array): string {
  const spki = parseRequest(der).publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(spki).digest('hex');
}

function lines(title: string, rows: readonly Row[]): string {
  return `${[title, ...rows.map(([label, value]) => `  ${label.padEnd(15)} ${value}`)].join('\n')}\n`;
}
