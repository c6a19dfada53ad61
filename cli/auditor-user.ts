/** `plombe auditor user add|list|passwd|remove`: the people who may look at the auditor's page, or decide there. */
import type { Command } from 'commander';
import { z } from 'zod';
import { openAccounts, roles } from '../auditor/page/accounts.ts';
import type { Role } from '../auditor/page/accounts.ts';
import { loadConfig } from '../runtime/config.ts';
import { peopleCommand } from './people.ts';
import type { People } from './people.ts';

interface Rights {
  readonly role: Role;
}

export function auditorUserCommand(): Command {
  return peopleCommand<Rights>({
    description:
      "People who may look at the auditor's page. A password is read from stdin if that is no terminal, else made and\n" +
      'shown once. The auditor may run meanwhile.',
    roles,
    roleHelp: `${roles.join(', ')}; a releaser decides about what is held`,
    options: [],
    columns: 'name and role',
    configHelp: "the auditor's configuration file, which names its data",
    open: openPeople,
  });
}

async function openPeople(
  configFile: string,
  work: (people: People<Rights>) => Promise<void>,
): Promise<void> {
  const { data } = loadConfig(configFile, (types) => z.looseObject({ data: types.path }));
  const accounts = openAccounts(data);
  try {
    await work({
      add: async (name, { role }, passwordHash) => accounts.add(name, role, passwordHash),
      list: async () => accounts.list().map(({ name, role }) => [name, role]),
      setPassword: async (name, passwordHash) => accounts.setPassword(name, passwordHash),
      remove: async (name) => accounts.remove(name),
    });
  } finally {
    accounts.close();
  }
}
