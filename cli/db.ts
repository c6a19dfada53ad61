/** `plombe db backup|restore|check|migrate|copy`: the database of the backend, from outside of it. */
import path from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { backupDatabase, restoreDatabase } from '../database/backup.ts';
import { checkDatabase } from '../database/check.ts';
import { connectDatabase, withoutPassword } from '../database/connect.ts';
import type { ConnectOptions, Database } from '../database/connect.ts';
import { copyDatabase } from '../database/copy.ts';
import { migrate, requireShape } from '../database/migrate.ts';
import type { StorageForm } from '../database/schema.ts';
import { storageForms } from '../database/storage-of.ts';

const databaseHelp = 'sqlite:FILE or mysql://user:password@host:port/database';
const barWidth = 30;
/** A name that is misspelt makes no new file. */
const existing: ConnectOptions = { mustExist: true };

export function dbCommand(): Command {
  const db = new Command('db').description(
    "The backend's database: backup and restore of the embedded one, check, migrate, and copy to another engine.",
  );
  db.command('backup')
    .description('copies the embedded database while it runs, and checks the copy')
    .argument('<target>', 'a file that is not there yet')
    .requiredOption('--database <url>', 'sqlite:FILE', parseUrl)
    .action(backup);
  db.command('restore')
    .description('puts a backup in the place of the embedded database; what was there is kept beside it')
    .argument('<source>', 'a file that `plombe db backup` made')
    .requiredOption('--database <url>', 'sqlite:FILE', parseUrl)
    .action(restore);
  db.command('check')
    .description('whether the database is sound: ends with 1 and names what is wrong, if anything is')
    .requiredOption('--database <url>', databaseHelp, parseUrl)
    .action(check);
  db.command('migrate')
    .description("brings the tables to this version's shape, as every program does when it starts")
    .requiredOption('--database <url>', databaseHelp, parseUrl)
    .action(applyMigrations);
  db.command('copy')
    .description(
      'copies everything into another, empty database. The programs of the source are stopped. Cut off, it goes on when called again.',
    )
    .requiredOption('--from <url>', databaseHelp, parseUrl)
    .requiredOption('--to <url>', databaseHelp, parseUrl)
    .option('--restart', 'empties the target first, whatever is in it', false)
    .addOption(
      new Option('--storage <form>', 'how values rest in the target; as in the source, unless given').choices(
        storageForms,
      ),
    )
    .action(copy);
  return db;
}

/** As in a configuration file, but relative to where the command is called. */
function parseUrl(text: string): string {
  if (/^(mysql|mariadb):\/\/./.test(text)) return text;
  const file = /^sqlite:(.+)$/.exec(text)?.[1];
  if (file === undefined) throw new InvalidArgumentError('wanted sqlite:FILE or mysql://…');
  return `sqlite:${path.resolve(file)}`;
}

function fileOf(url: string): string {
  if (url.startsWith('sqlite:')) return url.slice('sqlite:'.length);
  throw new Error('only the embedded database is backed up here; a MySQL or MariaDB server has mariadb-dump');
}

async function backup(target: string, { database }: { database: string }): Promise<void> {
  const show = progressBar('pages');
  const pages = await backupDatabase(fileOf(database), path.resolve(target), ({ pages: done, pagesTotal }) =>
    show(done, pagesTotal),
  );
  show(pages, pages);
  process.stdout.write(`${target} is a sound copy of ${pages} pages.\n`);
}

function restore(source: string, { database }: { database: string }): void {
  const file = fileOf(database);
  const aside = restoreDatabase(path.resolve(source), file, Date.now());
  process.stdout.write(`${file} is as it was in ${source}.\n`);
  if (aside !== undefined) process.stdout.write(`What was there is in ${aside}.\n`);
}

async function check({ database: url }: { database: string }): Promise<void> {
  await withDatabase(url, existing, async (database) => {
    await requireShape(database);
    const faults = await checkDatabase(database, { onProgress: progressBar('devices') });
    for (const fault of faults) process.stdout.write(`${fault}\n`);
    process.stdout.write(faults.length === 0 ? 'The database is sound.\n' : `${faults.length} faults.\n`);
    if (faults.length > 0) process.exitCode = 1;
  });
}

async function applyMigrations({ database: url }: { database: string }): Promise<void> {
  await withDatabase(url, {}, async (database) => {
    const applied = await migrate(database);
    process.stdout.write(
      applied.length === 0 ? 'There is nothing to do.\n' : `Applied: ${applied.join(', ')}\n`,
    );
  });
}

interface CopyArguments {
  readonly from: string;
  readonly to: string;
  readonly restart: boolean;
  readonly storage?: StorageForm;
}

async function copy(options: CopyArguments): Promise<void> {
  if (options.from === options.to) throw new Error('source and target are the same database');
  const show = progressBar('rows');
  await withDatabase(options.from, existing, (source) =>
    withDatabase(options.to, {}, async (target) => {
      const counts = await copyDatabase(source, target, {
        restart: options.restart,
        ...(options.storage === undefined ? {} : { form: options.storage }),
        nowMs: Date.now(),
        onProgress: ({ rows, rowsTotal }) => show(rows, rowsTotal),
      });
      for (const [table, rows] of counts) if (rows > 0) process.stdout.write(`${table}\t${rows}\n`);
      process.stdout.write(`Everything is in ${withoutPassword(options.to)}, counted on both sides.\n`);
    }),
  );
}

async function withDatabase(
  url: string,
  options: ConnectOptions,
  work: (database: Database) => Promise<void>,
): Promise<void> {
  const database = await connectDatabase(url, options);
  try {
    await work(database);
  } finally {
    await database.close();
  }
}

/** On stderr: a bar on a terminal, elsewhere a line for each tenth. @returns shows how far it is */
function progressBar(what: string): (done: number, total: number) => void {
  let shown = -1;
  return (done, total) => {
    const percent = total === 0 ? 100 : Math.floor((100 * done) / total);
    const step = process.stderr.isTTY ? percent : Math.floor(percent / 10) * 10;
    if (step === shown) return;
    shown = step;
    const filled = Math.round((barWidth * step) / 100);
    const bar = `[${'#'.repeat(filled)}${'.'.repeat(barWidth - filled)}] ${step} % of ${total} ${what}`;
    process.stderr.write(process.stderr.isTTY ? `\r${bar}${step === 100 ? '\n' : ''}` : `${bar}\n`);
  };
}
