/** The SIG certificate that a device works with, as its broker keeps it for whoever reads what the device seals. */
import { decodeDeviceCertificates } from '../../domain/device-certificates.ts';
import type { BrokerAddress } from '../../domain/enrolment.ts';
import type { NamespacePath } from '../../domain/namespace.ts';
import { deviceTopic } from '../../domain/topic.ts';
import { EnrolmentError } from '../../enrolment/errors.ts';
import { openLink } from '../../mqtt/link.ts';
import { parseCertificate } from '../../pki/certificate.ts';
import type { Certificate } from '../../pki/certificate.ts';
import { PkiError } from '../../pki/errors.ts';
import type { Identity } from '../../pki/identity.ts';
import { verifyPath } from '../../pki/path.ts';
import type { Log } from '../../runtime/log.ts';

export interface PublishedCertificateQuestion {
  readonly device: NamespacePath;
  /** Of its owner. */
  readonly identity: Identity;
  readonly broker: BrokerAddress;
  readonly timeoutMs: number;
  readonly nowMs: number;
  readonly log: Log;
}

/** @throws EnrolmentError `enrolment.unanswered`; DeviceCertificatesError; PkiError as `verifyPath` */
export async function publishedCertificate(options: PublishedCertificateQuestion): Promise<Certificate> {
  const { device, identity, broker, timeoutMs, nowMs, log } = options;
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const link = openLink({
    broker,
    brokerName: broker.name,
    identity: identity.tls,
    clientId: `transfer-of-${identity.commonName}`,
    cleanSession: true,
    subscriptions: [{ filter: deviceTopic(device, 'certificates'), qos: 1 }],
    onMessage: ({ payload }, acknowledge) => {
      acknowledge();
      resolve(payload);
    },
    log,
  });
  const timer = setTimeout(() => {
    const why = link.connected
      ? `knows no certificates of ${device}`
      : 'cannot be reached, or lets us not in';
    reject(new EnrolmentError('enrolment.unanswered', `${broker.host}:${broker.port} ${why}`));
  }, timeoutMs);
  try {
    const chain = decodeDeviceCertificates(await promise).signature.map(parseCertificate);
    const { roots } = identity.e2e;
    const { commonName, certificate } = verifyPath({ chain, roots, atMs: nowMs, purpose: 'signature' });
    if (commonName === device) return certificate;
    throw new PkiError('pki.path_discipline', `a certificate of ${commonName} on the topic of ${device}`);
  } finally {
    clearTimeout(timer);
    await link.close();
  }
}
