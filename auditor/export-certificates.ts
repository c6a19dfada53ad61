/** The certificates that a device published: what its envelopes were verified with. */
import type { NamespacePath } from '../domain/namespace.ts';
import { decodeDeviceCertificates } from '../domain/device-certificates.ts';
import { hash } from 'node:crypto';
import { parseCertificate } from '../pki/certificate.ts';
import { timeCell } from './csv.ts';
import type { ExportSource, Row } from './export-source.ts';

/** A row a certificate, the device's own first and then those above it, for each time that it published others. */
export function* certificateRows({ index }: ExportSource, device: NamespacePath): Generator<Row> {
  for (const { payload } of index.certificatesOf(device)) {
    const { signature, keyAgreement } = decodeDeviceCertificates(payload); // it was taken, so it can be read
    yield* chainRows(device, 'signature', signature);
    yield* chainRows(device, 'key agreement', keyAgreement);
  }
}

function* chainRows(device: string, purpose: string, chain: readonly Uint8Array[]): Generator<Row> {
  for (const [place, der] of chain.entries()) {
    const { commonName, serialNumber, notBeforeMs, notAfterMs } = parseCertificate(Buffer.from(der));
    yield {
      device,
      purpose,
      place,
      subject: commonName,
      serial: serialNumber.toString('hex'),
      from: timeCell(notBeforeMs),
      until: timeCell(notAfterMs),
      sha256: hash('sha256', der, 'hex'),
    };
  }
}
