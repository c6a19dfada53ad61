/** `plombe auditor user add|list|passwd|remove`: the people who may look at the auditor's page, or decide there. */
import { Command, InvalidArgumentError } from 'commander';
import { z } from 'zod';
import type { AccountStore, Role } from '../auditor/page/accounts.ts';
import { openAccounts, roles } from '../auditor/page/accounts.ts';
import { loadConfig } from '../runtime/config.ts';
import { hashPassword } from '../web/password.ts';
import { choosePassword, parseUserName } from './credentials.ts';

interface UserOptions {
  readonly config: string;
}

const configHelp = "the auditor's configuration file, which names its data";

export function auditorUserCommand(): Command {
  const user = new Command('user').description(
    "People who may look at the auditor's page. A password is read from stdin if that is no terminal, else made and\n" +
      'shown once. The auditor may run meanwhile.',
  );
  user
    .command('add')
    .description('adds a user')
    .argument('<name>', 'letters, digits and . _ @ -', parseUserName)
    .requiredOption('--role <role>', `${roles.join(', ')}; a releaser decides about what is held`, parseRole)
    .requiredOption('--config <file>', configHelp)
    .action(add);
  user
    .command('list')
    .description('prints name and role of every user')
    .requiredOption('--config <file>', configHelp)
    .action(list);
  user
    .command('passwd')
    .description('changes a password and ends the sessions of the user')
    .argument('<name>')
    .requiredOption('--config <file>', configHelp)
    .action(changePassword);
  user
    .command('remove')
    .description('removes a user and ends the sessions of the user')
    .argument('<name>')
    .requiredOption('--config <file>', configHelp)
    .action(remove);
  return user;
}

function parseRole(text: string): Role {
  const role = roles.find((known) => known === text);
  if (role === undefined) throw new InvalidArgumentError(`wanted one of ${roles.join(', ')}`);
  return role;
}

async function add(name: string, options: UserOptions & { readonly role: Role }): Promise<void> {
  await withAccounts(options, async (accounts) => {
    const { password, isGenerated } = await choosePassword();
    accounts.add(name, options.role, await hashPassword(password));
    process.stdout.write(isGenerated ? `${name} was added. Password: ${password}\n` : `${name} was added.\n`);
  });
}

async function list(options: UserOptions): Promise<void> {
  await withAccounts(options, async (accounts) => {
    for (const { name, role } of accounts.list()) process.stdout.write(`${name}\t${role}\n`);
  });
}

async function changePassword(name: string, options: UserOptions): Promise<void> {
  await withAccounts(options, async (accounts) => {
    const { password, isGenerated } = await choosePassword();
    if (!accounts.setPassword(name, await hashPassword(password))) throw noSuchUser(name);
    process.stdout.write(
      isGenerated ? `Password of ${name}: ${password}\n` : `The password of ${name} was changed.\n`,
    );
  });
}

async function remove(name: string, options: UserOptions): Promise<void> {
  await withAccounts(options, async (accounts) => {
    if (!accounts.remove(name)) throw noSuchUser(name);
    process.stdout.write(`${name} was removed.\n`);
  });
}

function noSuchUser(name: string): Error {
  return new Error(`there is no user "${name}"`);
}

async function withAccounts(
  { config }: UserOptions,
  work: (accounts: AccountStore) => Promise<void>,
): Promise<void> {
  const { data } = loadConfig(config, (types) => z.looseObject({ data: types.path }));
  const accounts = openAccounts(data);
  try {
    await work(accounts);
  } finally {
    accounts.close();
  }
}
