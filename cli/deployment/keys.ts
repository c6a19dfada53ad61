/** Makes the keys and certificates of a deployment; what exists already is left as it is. */
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { enrolmentServiceName } from '../../domain/enrolment.ts';
import { administratorName } from '../../domain/namespace.ts';
import type { Authority } from '../../pki/authority/authority.ts';
import { createAuthority, openAuthority } from '../../pki/authority/authority.ts';
import type { CustomerPlan, DeploymentPlan } from './plan.ts';
import {
  commandReaderFile,
  commandServiceName,
  crlServiceName,
  customerFolder,
  deviceIdentityFolder,
  releaserFile,
  snapshotServiceName,
  vendorBrokerName,
} from './plan.ts';

/** Called after each identity, for a progress bar. */
export type KeysProgress = (done: number, total: number) => void;

interface WantedIdentity {
  readonly path: string;
  readonly kinds: readonly ('tls' | 'sig' | 'enc')[];
  readonly directory: string;
  readonly hosts?: readonly string[];
}

/** @returns the authority, for whoever wants to issue more */
export async function makeKeys(plan: DeploymentPlan, progress?: KeysProgress): Promise<Authority> {
  const directory = path.join(plan.directory, 'pki');
  const authority = existsSync(directory) ? openAuthority({ directory }) : createAuthority({ directory });
  const wanted = [
    ...vendorIdentities(plan),
    ...plan.customers.flatMap((customer) => customerIdentities(plan, customer)),
  ];
  for (const [index, { path: name, kinds, directory: outputDirectory, hosts }] of wanted.entries()) {
    if (!existsSync(path.join(outputDirectory, `${kinds.at(-1)}.chain.pem`))) {
      await authority.issue({ path: name, kinds, outputDirectory, ...(hosts ? { hosts } : {}) });
    }
    progress?.(index + 1, wanted.length);
  }
  shareCertificates(plan);
  return authority;
}

function vendorIdentities({ directory, vendor }: DeploymentPlan): WantedIdentity[] {
  const identities = path.join(directory, 'vendor', 'identities');
  const all = ['tls', 'sig', 'enc'] as const;
  return [
    {
      path: vendorBrokerName,
      kinds: ['tls'],
      directory: path.join(identities, vendorBrokerName),
      hosts: vendor.broker.hosts,
    },
    { path: snapshotServiceName, kinds: all, directory: path.join(identities, snapshotServiceName) },
    { path: commandServiceName, kinds: all, directory: path.join(identities, commandServiceName) },
    { path: enrolmentServiceName, kinds: all, directory: path.join(identities, enrolmentServiceName) },
    { path: crlServiceName, kinds: ['tls'], directory: path.join(identities, crlServiceName) },
    { path: administratorName, kinds: all, directory: path.join(identities, administratorName) },
  ];
}

function customerIdentities({ directory }: DeploymentPlan, customer: CustomerPlan): WantedIdentity[] {
  const folder = path.join(directory, customerFolder(customer.masterAccount));
  const own = path.join(folder, 'identities');
  const devices = customer.agents.flatMap((agent) => agent.devices);
  return [
    ...(customer.broker
      ? [
          {
            path: customer.masterAccount,
            kinds: ['tls'] as const,
            directory: path.join(own, 'broker'),
            hosts: customer.broker.hosts,
          },
        ]
      : []),
    {
      path: customer.masterAccount,
      kinds: ['tls', 'sig', 'enc'] as const,
      directory: path.join(own, 'auditor'),
    },
    ...devices.map((device) => ({
      path: device.path,
      kinds: ['tls', 'sig', 'enc'] as const,
      directory: path.join(folder, deviceIdentityFolder(device.path)),
    })),
  ];
}

/**
 * Each customer gets the vendor's public certificates: whom its devices seal for, and who may command them. Of one with an
 * auditor, the vendor gets the one to seal commands for too; of one that releases what leaves, the one that says so.
 */
function shareCertificates({ directory, customers }: DeploymentPlan): void {
  const services = path.join(directory, 'vendor', 'identities');
  for (const { masterAccount, auditor } of customers) {
    const folder = path.join(directory, customerFolder(masterAccount));
    const recipients = path.join(folder, 'recipients');
    const issuer = path.join(folder, 'issuers', commandServiceName);
    mkdirSync(recipients, { recursive: true });
    mkdirSync(issuer, { recursive: true });
    copyFileSync(
      path.join(services, snapshotServiceName, 'enc.chain.pem'),
      path.join(recipients, `${snapshotServiceName}.enc.chain.pem`),
    );
    copyFileSync(
      path.join(folder, 'identities', 'auditor', 'enc.chain.pem'),
      path.join(recipients, `${masterAccount}.enc.chain.pem`),
    );
    for (const file of ['sig.chain.pem', 'enc.chain.pem']) {
      copyFileSync(path.join(services, commandServiceName, file), path.join(issuer, file));
    }
    const ownFile = (kind: 'sig' | 'enc'): string =>
      path.join(folder, 'identities', 'auditor', `${kind}.chain.pem`);
    const share = (file: string, name: string): void => {
      const shared = path.join(directory, 'vendor', name);
      mkdirSync(path.dirname(shared), { recursive: true });
      copyFileSync(file, shared);
    };
    if (auditor !== undefined) share(ownFile('enc'), commandReaderFile(masterAccount));
    if (auditor?.mode === 'enforce') share(ownFile('sig'), releaserFile(masterAccount));
  }
}
