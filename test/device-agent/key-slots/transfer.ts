/** A transfer that all have signed, as the registrar is told of it. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { countersignContent, signContent } from '../../../cms/signed-content.ts';
import { encodeTransferDocument } from '../../../domain/enrolment.ts';
import type { BrokerAddress } from '../../../domain/enrolment.ts';
import { certificatesFromPem } from '../../../pki/certificate.ts';
import type { Vendor } from '../../registrar/fixture.ts';

const hourMs = 3_600_000;

/**
 * The new broker is the old one by another address, unless another one is given.
 *
 * @param root - holds the keys of the device as it is
 */
export async function offerTransfer(
  vendor: Vendor,
  from: string,
  to: string,
  root: string,
  broker: BrokerAddress = { host: 'localhost', port: vendor.broker.port, name: 'vendor-broker' },
): Promise<Buffer> {
  const [certificate] = certificatesFromPem(readFileSync(path.join(root, 'sig.crt.pem'), 'utf8'));
  if (certificate === undefined) throw new Error('a device without a certificate');
  const nowMs = Date.now();
  const content = encodeTransferDocument({
    id: randomUUID(),
    from,
    to,
    deviceCertificate: certificate.sha256,
    broker,
    notBeforeMs: nowMs - hourMs,
    expiresAtMs: nowMs + hourMs,
  });
  const accountOf = (device: string): string => device.split('/').slice(0, 2).join('/');
  const [owner, next, vendorKeys] = await Promise.all(
    [accountOf(from), accountOf(to), 'MRO-Admin'].map(
      async (name) => (await vendor.keys(name)).e2e.signature,
    ),
  );
  if (owner === undefined || next === undefined || vendorKeys === undefined) throw new Error('three sign');
  const signed = countersignContent(
    countersignContent(signContent(content, owner, nowMs), next, nowMs),
    vendorKeys,
    nowMs,
  );
  const admin = await vendor.site.connect(vendor.broker, 'MRO-Admin', { clientId: `transfer-of-${from}` });
  await admin.publishAsync(`${from}/enrolment`, signed, { qos: 1 });
  await admin.endAsync();
  return signed;
}
