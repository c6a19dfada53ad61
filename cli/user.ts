/** `plombe user add|list|passwd|remove`: the people who may look at the dashboard. */
import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';
import { loadBackendConfig } from '../backend/config.ts';
import { connectDatabase } from '../database/connect.ts';
import { migrate } from '../database/migrate.ts';
import type { Role } from '../database/schema.ts';
import { addUser, readUsers, removeUser, setPassword } from '../database/users.ts';
import { parseNamespacePath } from '../domain/namespace.ts';
import { peopleCommand } from './people.ts';
import type { People } from './people.ts';

interface Rights {
  readonly role: Role;
  readonly scope: string;
}

const roles: readonly Role[] = ['operator', 'technician', 'viewer'];

export function userCommand(): Command {
  return peopleCommand<Rights>({
    description:
      'People who may look at the dashboard. A password is read from stdin if that is no terminal, else made and shown once.',
    roles,
    roleHelp: roles.join(', '),
    options: [
      new Option('--scope <path>', 'a namespace path: sees only what lies there; without it, everything')
        .argParser(parseScope)
        .default(''),
    ],
    columns: 'name, role and scope',
    configHelp: "the backend's configuration file, which names the database",
    open: openUsers,
  });
}

function parseScope(text: string): string {
  if (text === '' || parseNamespacePath(text) !== undefined) return text;
  throw new InvalidArgumentError('wanted a namespace path such as ms-acc-1/acc-1');
}

async function openUsers(configFile: string, work: (people: People<Rights>) => Promise<void>): Promise<void> {
  const database = await connectDatabase(loadBackendConfig(configFile).database);
  try {
    await migrate(database);
    await work({
      add: (name, { role, scope }, passwordHash) =>
        addUser(database, { name, role, scope, passwordHash }, Date.now()),
      list: async () =>
        (await readUsers(database)).map(({ name, role, scope }) => [
          name,
          role,
          scope === '' ? 'everything' : scope,
        ]),
      setPassword: (name, passwordHash) => setPassword(database, name, passwordHash),
      remove: (name) => removeUser(database, name),
    });
  } finally {
    await database.close();
  }
}
