/** `add`, `list`, `passwd` and `remove` of the people who may look at a page, whoever keeps them. */
import { Command, InvalidArgumentError } from 'commander';
import type { Option } from 'commander';
import { hashPassword } from '../web/password.ts';
import { choosePassword, parseUserName } from './credentials.ts';

/** Who keeps them. */
export interface People<Rights> {
  add(name: string, rights: Rights, passwordHash: string): Promise<void>;
  /** The name and the rights of each. */
  list(): Promise<readonly (readonly string[])[]>;
  /** Also ends every session of the user. @returns whether there was such a user */
  setPassword(name: string, passwordHash: string): Promise<boolean>;
  /** Also ends every session of the user. @returns whether there was such a user */
  remove(name: string): Promise<boolean>;
}

/** @typeParam Rights - the role, and what else an option of `add` says */
export interface PeopleSettings<Rights extends { readonly role: string }> {
  readonly description: string;
  readonly roles: readonly Rights['role'][];
  readonly roleHelp: string;
  /** Of `add`, beside the role. */
  readonly options: readonly Option[];
  /** What `list` prints of every user. */
  readonly columns: string;
  readonly configHelp: string;
  /** Opens what keeps them, and closes it after `work`. */
  readonly open: (configFile: string, work: (people: People<Rights>) => Promise<void>) => Promise<void>;
}

interface ConfigOption {
  readonly config: string;
}

/** @returns the command `user` */
export function peopleCommand<Rights extends { readonly role: string }>(
  settings: PeopleSettings<Rights>,
): Command {
  const { roles, configHelp, open } = settings;
  const user = new Command('user').description(settings.description);
  const subcommand = (name: string, description: string): Command =>
    user.command(name).description(description).requiredOption('--config <file>', configHelp);
  const adding = subcommand('add', 'adds a user')
    .argument('<name>', 'letters, digits and . _ @ -', parseUserName)
    .requiredOption('--role <role>', settings.roleHelp, (text) => parseRole(text, roles))
    .action((name: string, options: Rights & ConfigOption) =>
      open(options.config, (people) => add(people, name, options)),
    );
  for (const option of settings.options) adding.addOption(option);
  subcommand('list', `prints ${settings.columns} of every user`).action(({ config }: ConfigOption) =>
    open(config, list),
  );
  subcommand('passwd', 'changes a password and ends the sessions of the user')
    .argument('<name>')
    .action((name: string, { config }: ConfigOption) =>
      open(config, (people) => changePassword(people, name)),
    );
  subcommand('remove', 'removes a user and ends the sessions of the user')
    .argument('<name>')
    .action((name: string, { config }: ConfigOption) => open(config, (people) => remove(people, name)));
  return user;
}

function parseRole<Role extends string>(text: string, roles: readonly Role[]): Role {
  const role = roles.find((known) => known === text);
  if (role === undefined) throw new InvalidArgumentError(`wanted one of ${roles.join(', ')}`);
  return role;
}

async function add<Rights>(people: People<Rights>, name: string, rights: Rights): Promise<void> {
  const { password, isGenerated } = await choosePassword();
  await people.add(name, rights, await hashPassword(password));
  process.stdout.write(isGenerated ? `${name} was added. Password: ${password}\n` : `${name} was added.\n`);
}

async function list(people: People<never>): Promise<void> {
  for (const row of await people.list()) process.stdout.write(`${row.join('\t')}\n`);
}

async function changePassword(people: People<never>, name: string): Promise<void> {
  const { password, isGenerated } = await choosePassword();
  requireUser(await people.setPassword(name, await hashPassword(password)), name);
  process.stdout.write(
    isGenerated ? `Password of ${name}: ${password}\n` : `The password of ${name} was changed.\n`,
  );
}

async function remove(people: People<never>, name: string): Promise<void> {
  requireUser(await people.remove(name), name);
  process.stdout.write(`${name} was removed.\n`);
}

function requireUser(isThere: boolean, name: string): void {
  if (!isThere) throw new Error(`there is no user "${name}"`);
}
