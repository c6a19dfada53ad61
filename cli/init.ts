/** `plombe init DIR`: writes a ready deployment for a vendor and a first customer. */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { Command } from 'commander';
import { writeFileAtomically } from '../runtime/files.ts';
import { parseDevice } from './arguments.ts';
import { writeConfigs } from './deployment/configs.ts';
import { makeKeys } from './deployment/keys.ts';
import type { DeploymentPlan } from './deployment/plan.ts';
import { commandServiceName, snapshotServiceName } from './deployment/plan.ts';

interface InitOptions {
  readonly vendorHost: string;
  readonly customerHost: string;
  readonly device: string;
}

export function initCommand(): Command {
  return new Command('init')
    .description('Writes a ready deployment: configurations and keys for a vendor and a first customer.')
    .argument('<dir>', 'an empty or new folder')
    .option(
      '--vendor-host <name>',
      "host name or address of the vendor's broker, as customers reach it",
      'localhost',
    )
    .option(
      '--customer-host <name>',
      "host name or address of the customer's broker, as devices reach it",
      'localhost',
    )
    .option<string>(
      '--device <path>',
      'the first device, masterAccount/account/equipment',
      parseDevice,
      'ms-acc-1/acc-1/dev-1',
    )
    .action(init);
}

async function init(dir: string, options: InitOptions): Promise<void> {
  const directory = path.resolve(dir);
  if (existsSync(directory) && readdirSync(directory).length > 0) {
    throw new Error(`cannot write a deployment to ${directory}: the folder is not empty`);
  }
  const plan = firstDeployment(directory, options);
  await makeKeys(plan);
  writeConfigs(plan);
  const guide = guideText(plan, options);
  writeFileAtomically(path.join(directory, 'README.md'), guide);
  process.stdout.write(`${guide}\nWritten to ${directory}\n`);
}

function firstDeployment(
  directory: string,
  { vendorHost, customerHost, device }: InitOptions,
): DeploymentPlan {
  const [masterAccount = ''] = device.split('/');
  // On one host the two brokers need two ports; 8883 is the registered one for MQTT over TLS.
  const customerPort = vendorHost === customerHost ? 8884 : 8883;
  return {
    directory,
    vendor: {
      broker: { listen: '0.0.0.0:8883', address: `${vendorHost}:8883`, hosts: [vendorHost] },
      http: '127.0.0.1:8080',
      database: 'sqlite:./data/plombe.db',
    },
    customers: [
      {
        masterAccount,
        broker: {
          listen: `0.0.0.0:${customerPort}`,
          address: `${customerHost}:${customerPort}`,
          hosts: [customerHost],
        },
        auditor: {},
        agents: [
          {
            name: 'agent',
            devices: [
              {
                kind: 'simulator',
                path: device,
                type: 'FM',
                condition: 'wearing',
                intervalMs: 10_000,
                seed: 1,
              },
            ],
          },
        ],
      },
    ],
  };
}

function guideText({ customers }: DeploymentPlan, { device, vendorHost }: InitOptions): string {
  const [customer] = customers;
  const name = customer?.masterAccount ?? '';
  return `# A Plombe deployment

| folder | whose | goes to |
|---|---|---|
| \`pki/\` | the vendor's authority: both roots and every CA | a machine of its own, with the registrar |
| \`vendor/\` | broker, backend, bpm and registrar of the vendor | ${vendorHost} |
| \`customers/${name}/\` | broker, auditor and agents of the customer | the customer's premises |

Start, in this order or any other:

    plombe broker  --config vendor/broker.yaml
    plombe backend --config vendor/backend.yaml
    plombe bpm     --config vendor/bpm.yaml
    plombe registrar --config vendor/registrar.yaml
    plombe user add operator --role operator --config vendor/backend.yaml
    plombe broker  --config customers/${name}/broker.yaml
    plombe auditor --config customers/${name}/auditor.yaml
    plombe agent   --config customers/${name}/agent.yaml

Another device: invite it, copy the token to it, and enrol it there; its keys are made on the device and never leave it.

    plombe device invite --dir pki --broker ${customer?.broker?.address ?? ''} --broker-name ${name} \\
      --out dev-2.token ${device.split('/').slice(0, 2).join('/')}/dev-2
    plombe device enrol --token dev-2.token --out identity

Then add the directory to \`customers/${name}/agent.yaml\`, or give the device an agent of its own.
A stolen one: \`plombe pki revoke --dir pki ${device} --reason keyCompromise\`; the registrar publishes it within a moment.

The keys of \`${snapshotServiceName}\` open every snapshot that is sealed for the vendor, and those of
\`${commandServiceName}\` command every device: keep \`vendor/identities\` as you would keep them.
`;
}
