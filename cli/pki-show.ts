/** Certificates and CRLs as text for people. */
import { kemKeyType } from '../pki/certificate.ts';
import type { Certificate } from '../pki/certificate.ts';
import type { Crl } from '../pki/crl.ts';

const revokedShownMax = 20;

export function certificateText(certificate: Certificate): string {
  const { isAuthority, pathLength, extendedKeyUsage } = certificate;
  const isKem = certificate.publicKey.asymmetricKeyType === kemKeyType;
  const bound = pathLength === undefined ? 'any number of' : String(pathLength);
  return block('certificate', [
    ['common name', nameText(certificate.commonName)],
    ['issued by', nameText(certificate.issuerCommonName)],
    ['serial', certificate.serialNumber.toString('hex')],
    ['valid from', timeText(certificate.notBeforeMs)],
    ['valid until', timeText(certificate.notAfterMs)],
    ['key', certificate.curve ?? (isKem ? 'ML-KEM-768' : 'none on a curve of ours')],
    ['use', [...(certificate.keyUsage ?? ['not said'])].join(', ')],
    ['extended use', extendedKeyUsage?.map((oid) => purposeNames.get(oid) ?? oid).join(', ')],
    ['hosts', certificate.x509.subjectAltName],
    ['CA', isAuthority ? `yes, with ${bound} CAs below it` : undefined],
    ['key identifier', certificate.subjectKeyIdentifier?.toString('hex')],
    ['SHA-256', certificate.sha256.toString('hex')],
  ]);
}

export function crlText(crl: Crl): string {
  const revoked = [...crl.revoked].slice(0, revokedShownMax).map(([serial, { revokedAtMs, reason }]): Row => {
    return ['', `${serial} since ${timeText(revokedAtMs)}, ${reason}`];
  });
  const hidden = crl.revoked.size - revoked.length;
  return block('CRL', [
    ['issued by', nameText(crl.issuerCommonName)],
    ['number', String(crl.number)],
    ['issued', timeText(crl.thisUpdateMs)],
    ['next until', timeText(crl.nextUpdateMs)],
    ['revoked', String(crl.revoked.size)],
    ...revoked,
    ['', hidden > 0 ? `and ${hidden} more` : undefined],
  ]);
}

type Row = readonly [label: string, value: string | undefined];

const purposeNames: ReadonlyMap<string, string> = new Map([
  ['1.3.6.1.5.5.7.3.1', 'TLS server'],
  ['1.3.6.1.5.5.7.3.2', 'TLS client'],
]);

function block(title: string, rows: readonly Row[]): string {
  const lines = rows.flatMap(([label, value]) =>
    value === undefined ? [] : [`  ${label.padEnd(15)} ${value}`],
  );
  return `${[title, ...lines].join('\n')}\n`;
}

/** Quoted where it has anything that a terminal might obey. */
function nameText(name: string | undefined): string {
  if (name === undefined) return 'not exactly one';
  return /^[\w ./-]+$/.test(name) ? name : JSON.stringify(name);
}

function timeText(atMs: number): string {
  return new Date(atMs).toISOString();
}
