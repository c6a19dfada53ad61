/** `plombe policy`: checks, signs, publishes and explains who may read what of an owner's devices. */
import { readFileSync } from 'node:fs';
import { Command, InvalidArgumentError } from 'commander';
import { systemClock } from '../domain/clock.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import { isWithin, ownersOf, parseNamespacePath } from '../domain/namespace.ts';
import type { Policy } from '../domain/policy.ts';
import { encodePolicy } from '../domain/policy.ts';
import { effectivePolicy } from '../domain/policy-effect.ts';
import { policyTopic } from '../domain/topic.ts';
import type { Certificate } from '../pki/certificate.ts';
import { certificatesFromPem } from '../pki/certificate.ts';
import { readTextFile } from '../pki/pem-file.ts';
import { readersOf } from '../policy/recipients.ts';
import { readSignedPolicy, signPolicy } from '../policy/signed-policy.ts';
import type { Endpoint } from '../runtime/config.ts';
import { writeFileAtomically } from '../runtime/files.ts';
import { parseDevice, parseEndpoint } from './arguments.ts';
import { readChannels, readPolicy, signedPolicy } from './policy/files.ts';
import { atBroker } from './policy/retained.ts';
import { effectText, policyText } from './policy/words.ts';
import { print } from './print.ts';
import { signerOf, withSigner } from './signer.ts';
import type { SignerOptions } from './signer.ts';

const configuredDefault = 'vendor-snapshot-service';
const issuer = "the issuer's account or master account";

export function policyCommand(): Command {
  return new Command('policy')
    .description("Who may read what of an owner's devices: check, sign, publish and explain it.")
    .addCommand(checkCommand())
    .addCommand(signCommand())
    .addCommand(publishCommand())
    .addCommand(showCommand())
    .addCommand(explainCommand());
}

interface CheckOptions {
  readonly channels?: string;
  readonly root?: string;
}

function checkCommand(): Command {
  return new Command('check')
    .description('Finds every fault of a policy, with its line, and says in words who gets what.')
    .argument('<file>', 'a policy')
    .option('--channels <file>', 'the channels of the devices: a name a line, or a snapshot in JSON')
    .option('--root <file>', 'the pinned E2E root, PEM: verifies the certificates of recipients too')
    .addHelpText('after', '\nExit status: 0 without a fault, 1 with one.')
    .action((file: string, { channels, root }: CheckOptions) => {
      const roots = rootsIn(root);
      const { policy } = readPolicy(file, roots, systemClock());
      if (roots !== undefined) requireRecipients(policy, roots);
      print(policyText(policy, channelsIn(channels)));
    });
}

function signCommand(): Command {
  return withSigner(new Command('sign'), issuer)
    .description('Signs a policy as its issuer.')
    .argument('<file>', 'a policy')
    .requiredOption('--out <file>', 'the signed policy')
    .action((file: string, { out, ...options }: SignerOptions & { out: string }) => {
      const { e2e } = signerOf(options);
      const nowMs = systemClock();
      const { policy } = readPolicy(file, e2e.roots, nowMs);
      requireRecipients(policy, e2e.roots);
      writeFileAtomically(out, signPolicy(policy, e2e, nowMs));
      print(`${policyText(policy, [])}\nsigned: ${out}`);
    });
}

interface BrokerOptions extends SignerOptions {
  readonly broker: Endpoint;
  readonly brokerName: string;
}

function publishCommand(): Command {
  return withBroker(new Command('publish'))
    .description('Publishes a signed policy, so that the devices get it; refuses to replace a newer one.')
    .argument('<file>', 'what `plombe policy sign` wrote')
    .option(
      '--to <path>',
      "by another's topic: a device's, where it cannot read the policy of its account",
      parsePath,
    )
    .action(async (file: string, { to, ...options }: BrokerOptions & { to?: NamespacePath }) => {
      const { tls, e2e } = signerOf(options);
      const trust = { roots: e2e.roots, atMs: systemClock() };
      const message = readFileSync(file);
      const { policy } = readSignedPolicy(message, trust);
      if (to !== undefined && !isWithin(to, policy.path)) {
        throw new Error(`${file}: is for ${policy.path}, and says nothing about ${to}`);
      }
      const topic = policyTopic(to ?? policy.path);
      const broker = { endpoint: options.broker, name: options.brokerName, identity: tls };
      await atBroker(broker, [topic], async ({ link, retained }) => {
        const kept = retained.get(topic);
        // Not verified: its signer's certificate may have expired, which is a reason to publish it anew.
        if (kept !== undefined) requireNewer(policy, signedPolicy(kept, undefined, trust.atMs).policy);
        await link.publish(topic, message, { qos: 1, retain: true });
      });
      print(
        `${topic}: number ${policy.number} is published; each device says in its status which one it obeys`,
      );
    });
}

function showCommand(): Command {
  return new Command('show')
    .description('Shows a policy, signed or not.')
    .argument('<file>', 'a policy, or what `plombe policy sign` wrote')
    .option('--channels <file>', 'the channels of the devices: a name a line, or a snapshot in JSON')
    .option('--root <file>', 'the pinned E2E root, PEM: verifies the signature')
    .action((file: string, { channels, root }: CheckOptions) => {
      const { policy, signature } = readPolicy(file, rootsIn(root), systemClock());
      const words = {
        none: 'Not signed',
        not_verified: 'Signed; name --root to verify by whom',
        verified: `Signed by ${policy.issuer}`,
      };
      print(`${policyText(policy, channelsIn(channels))}\n${words[signature]}`);
    });
}

interface ExplainOptions extends Partial<BrokerOptions> {
  readonly channels?: string;
  readonly root?: string;
  readonly configured: string;
}

function explainCommand(): Command {
  return new Command('explain')
    .description('Says what holds for one device, from files or from what a broker keeps.')
    .argument('<device>', 'masterAccount/account/equipment', parseDevice)
    .argument('[files...]', 'policies of the device, its account and its master account')
    .option('--channels <file>', 'the channels of the device: a name a line, or a snapshot in JSON')
    .option(
      '--configured <names>',
      "the recipients of the device's configuration, with commas",
      configuredDefault,
    )
    .option('--root <file>', 'the pinned E2E root, PEM: verifies signatures')
    .option('--broker <host:port>', 'reads what this broker keeps', parseEndpoint)
    .option('--broker-name <name>', "the name that the broker's certificate carries")
    .option('--identity <directory>', 'to connect with: of the account or the master account')
    .option('--passphrase-file <file>', 'its first line opens the keys')
    .action(async (device: NamespacePath, files: readonly string[], options: ExplainOptions) => {
      const atMs = systemClock();
      const roots = rootsIn(options.root);
      const policies = [
        ...files.map((file) => readPolicy(file, roots, atMs).policy),
        ...(await keptPolicies(device, options)),
      ];
      const stranger = policies.find(({ path }) => !isWithin(device, path));
      if (stranger !== undefined) throw new Error(`${stranger.path} is not above ${device}`);
      const newest = policies
        .toSorted((one, other) => one.number - other.number)
        .map((policy) => [policy.path, policy] as const);
      const configured = options.configured.split(',').filter((name) => name !== '');
      const effect = effectivePolicy({ policies: [...new Map(newest).values()], configured, atMs });
      print(effectText(device, effect, channelsIn(options.channels)));
    });
}

async function keptPolicies(
  device: NamespacePath,
  { broker: endpoint, brokerName: name, identity, passphraseFile }: ExplainOptions,
): Promise<readonly Policy[]> {
  if (endpoint === undefined) return [];
  if (name === undefined || identity === undefined)
    throw new Error('--broker needs --broker-name and --identity');
  const { tls, e2e } = signerOf({ identity, ...(passphraseFile === undefined ? {} : { passphraseFile }) });
  const owned = [...ownersOf(device), device].map(policyTopic);
  return atBroker({ endpoint, name, identity: tls }, owned, ({ retained }) =>
    Promise.resolve(
      Array.from(retained.values(), (message) => signedPolicy(message, e2e.roots, systemClock()).policy),
    ),
  );
}

function requireNewer(policy: Policy, kept: Policy): void {
  if (policy.path !== kept.path) {
    throw new Error(
      `the topic keeps the policy of ${kept.path}, and it keeps one alone: say both in one policy`,
    );
  }
  const isSame = Buffer.from(encodePolicy(policy)).equals(encodePolicy(kept)); // and signed again
  if (policy.number > kept.number || isSame) return;
  throw new Error(
    `the broker keeps number ${kept.number} for ${kept.path}; devices take a higher one only, and this is number ${policy.number}`,
  );
}

/** Better here than on every device: a recipient whose certificate is not to be trusted is left out there. */
function requireRecipients({ readers = {} }: Policy, roots: readonly Certificate[]): void {
  const trust = { configured: [], roots, atMs: systemClock() };
  for (const { recipients = [] } of Object.values(readers)) {
    for (const recipient of recipients) {
      if (recipient.trust !== 'configured') readersOf(recipient, trust);
    }
  }
}

function withBroker(command: Command): Command {
  return withSigner(command, issuer)
    .requiredOption('--broker <host:port>', 'where the devices connect', parseEndpoint)
    .requiredOption('--broker-name <name>', "the name that the broker's certificate carries");
}

function rootsIn(file: string | undefined): readonly Certificate[] | undefined {
  return file === undefined ? undefined : certificatesFromPem(readTextFile(file));
}

function channelsIn(file: string | undefined): readonly string[] {
  return file === undefined ? [] : readChannels(file);
}

function parsePath(text: string): NamespacePath {
  const path = parseNamespacePath(text);
  if (path !== undefined) return path;
  throw new InvalidArgumentError('Wanted masterAccount/account/equipment, or what is above.');
}
