/** The word of the demo's customer that decides for itself: its policy, signed by its own keys and published at its own broker. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { systemClock } from '../../domain/clock.ts';
import { policyTopic } from '../../domain/topic.ts';
import { openLink } from '../../mqtt/link.ts';
import { loadIdentity } from '../../pki/identity.ts';
import { signPolicy } from '../../policy/signed-policy.ts';
import { endpointType } from '../../runtime/config.ts';
import { writeFileAtomically } from '../../runtime/files.ts';
import { createLog } from '../../runtime/log.ts';
import type { CustomerPlan, DeploymentPlan } from '../deployment/plan.ts';
import { customerFolder, snapshotServiceName } from '../deployment/plan.ts';
import { readPolicy } from '../policy/files.ts';

/** It is a file, so that whoever looks around can change it; in a kept folder the one that is there is published again. */
export async function publishPolicy(
  { directory }: DeploymentPlan,
  { masterAccount, broker }: CustomerPlan,
): Promise<void> {
  if (broker === undefined) throw new TypeError(`${masterAccount} has no broker`);
  const folder = path.join(directory, customerFolder(masterAccount));
  const file = path.join(folder, 'policy.yaml');
  if (!existsSync(file)) writeFileAtomically(file, policyText(masterAccount));
  const { tls, e2e } = loadIdentity(path.join(folder, 'identities', 'auditor'), { nowMs: systemClock() });
  const { policy } = readPolicy(file, e2e.roots, systemClock());
  const link = openLink({
    broker: endpointType.parse(broker.address),
    brokerName: masterAccount,
    identity: tls,
    clientId: `policy-of-${masterAccount}`,
    cleanSession: true,
    log: createLog('policy', 'silent'),
  });
  try {
    const message = signPolicy(policy, e2e, systemClock());
    await link.publish(policyTopic(policy.path), message, { qos: 1, retain: true });
  } finally {
    await link.close();
  }
}

function policyText(masterAccount: string): string {
  return `# Who may read what of ${masterAccount}'s devices. After a change: a higher number, then
#   plombe policy sign policy.yaml --identity identities/auditor --out policy.signed
#   plombe policy publish policy.signed --identity identities/auditor --broker … --broker-name ${masterAccount}
for: ${masterAccount}
number: 1
readers:
  vendor:
    recipients: [${snapshotServiceName}]
    channels:
      auto: ['*']
      # How hard the machines are driven: a person of ours releases it first.
      ask: ['usage.*']
`;
}
