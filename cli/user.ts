/** `plombe user add|list|passwd|remove`: the people who may look at the dashboard. */
import { Command, InvalidArgumentError } from 'commander';
import { loadBackendConfig } from '../backend/config.ts';
import { hashPassword } from '../web/password.ts';
import { connectDatabase } from '../database/connect.ts';
import type { Database } from '../database/connect.ts';
import { migrate } from '../database/migrate.ts';
import type { Role } from '../database/schema.ts';
import { addUser, readUsers, removeUser, setPassword } from '../database/users.ts';
import { parseNamespacePath } from '../domain/namespace.ts';
import { choosePassword, parseUserName } from './credentials.ts';

const roles: readonly Role[] = ['operator', 'technician', 'viewer'];
const configHelp = "the backend's configuration file, which names the database";

export function userCommand(): Command {
  const user = new Command('user').description(
    'People who may look at the dashboard. A password is read from stdin if that is no terminal, else made and shown once.',
  );
  user
    .command('add')
    .description('adds a user')
    .argument('<name>', 'letters, digits and . _ @ -', parseUserName)
    .requiredOption('--role <role>', roles.join(', '), parseRole)
    .option(
      '--scope <path>',
      'a namespace path: sees only what lies there; without it, everything',
      parseScope,
      '',
    )
    .requiredOption('--config <file>', configHelp)
    .action(add);
  user
    .command('list')
    .description('prints name, role and scope of every user')
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

function parseScope(text: string): string {
  if (text === '' || parseNamespacePath(text) !== undefined) return text;
  throw new InvalidArgumentError('wanted a namespace path such as ms-acc-1/acc-1');
}

async function add(name: string, options: { role: Role; scope: string; config: string }): Promise<void> {
  await withDatabase(options.config, async (database) => {
    const { password, isGenerated } = await choosePassword();
    const { role, scope } = options;
    await addUser(database, { name, role, scope, passwordHash: await hashPassword(password) }, Date.now());
    process.stdout.write(isGenerated ? `${name} was added. Password: ${password}\n` : `${name} was added.\n`);
  });
}

async function list(options: { config: string }): Promise<void> {
  await withDatabase(options.config, async (database) => {
    for (const { name, role, scope } of await readUsers(database)) {
      process.stdout.write(`${name}\t${role}\t${scope === '' ? 'everything' : scope}\n`);
    }
  });
}

async function changePassword(name: string, options: { config: string }): Promise<void> {
  await withDatabase(options.config, async (database) => {
    const { password, isGenerated } = await choosePassword();
    if (!(await setPassword(database, name, await hashPassword(password)))) throw noSuchUser(name);
    process.stdout.write(
      isGenerated ? `Password of ${name}: ${password}\n` : `The password of ${name} was changed.\n`,
    );
  });
}

async function remove(name: string, options: { config: string }): Promise<void> {
  await withDatabase(options.config, async (database) => {
    if (!(await removeUser(database, name))) throw noSuchUser(name);
    process.stdout.write(`${name} was removed.\n`);
  });
}

function noSuchUser(name: string): Error {
  return new Error(`there is no user "${name}"`);
}

async function withDatabase(configFile: string, work: (database: Database) => Promise<void>): Promise<void> {
  const database = await connectDatabase(loadBackendConfig(configFile).database);
  try {
    await migrate(database);
    await work(database);
  } finally {
    await database.close();
  }
}
