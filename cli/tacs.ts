/** `plombe tacs`: asks the topic access control system, or exports it for another broker. */
import { Command, Option } from 'commander';
import { z } from 'zod';
import { defaultRoles, rolesWith } from '../broker/access/roles.ts';
import type { RoleTable } from '../broker/access/roles.ts';
import { decide } from '../broker/access/tacs.ts';
import type { Action, DenialReason } from '../broker/access/tacs.ts';
import { aclFormats, exportAcl } from '../broker/access/tacs-export.ts';
import type { AclFormat } from '../broker/access/tacs-export.ts';
import { loadConfig } from '../runtime/config.ts';
import { rolesType } from '../broker/config.ts';

const reasons: Readonly<Record<DenialReason, string>> = {
  malformed: 'not a topic name, or not a topic filter',
  unknown_identity: 'neither a namespace path nor a service name',
  reserved: 'nobody publishes to what begins with $',
  no_right: 'outside its subtree and its role',
};

export function tacsCommand(): Command {
  const tacs = new Command('tacs').description('Who may publish to and subscribe to what.');
  tacs
    .command('check')
    .description('Prints allow or deny; the exit status is 0 or 1.')
    .argument('<subject>', 'common name of a certificate, for example ms-acc-1/acc-1/dev-1')
    .argument('<topic>', 'topic filter to subscribe to, or topic to publish to')
    .addOption(
      new Option('--action <action>', 'what is asked for')
        .choices(['subscribe', 'publish'])
        .default('subscribe'),
    )
    .option('--config <file>', "a broker's configuration, for its roles")
    .action((subject: string, topic: string, options: { action: Action; config?: string }) => {
      const decision = decide(subject, options.action, topic, rolesOf(options.config));
      process.stdout.write(decision.allowed ? 'allow\n' : 'deny\n');
      if (!decision.allowed) process.stderr.write(`${reasons[decision.reason]}\n`);
      process.exitCode = decision.allowed ? 0 : 1;
    });
  tacs
    .command('export')
    .description('Prints an ACL file, or an extension, that gives the same rights in another broker.')
    .addOption(new Option('--for <broker>', 'its kind').choices(aclFormats).makeOptionMandatory())
    .option('--config <file>', "a broker's configuration, for its roles")
    .action((options: { for: AclFormat; config?: string }) => {
      process.stdout.write(exportAcl(options.for, rolesOf(options.config)));
    });
  return tacs;
}

/** Reads the roles alone, so that an administrator can ask about a file whose keys are elsewhere. */
function rolesOf(configFile: string | undefined): RoleTable {
  if (configFile === undefined) return defaultRoles;
  return rolesWith(loadConfig(configFile, () => z.looseObject({ roles: rolesType })).roles ?? {});
}
