/** `plombe agent|backend|bpm|registrar --config FILE`: each runs one program until it is told to stop. */
import { Command } from 'commander';

function programCommand(
  name: string,
  description: string,
  load: () => Promise<(configFile: string, options: object) => Promise<never>>,
): Command {
  return new Command(name)
    .description(`${description}\n\nRuns until SIGINT or SIGTERM. Logs JSON lines on stdout.`)
    .requiredOption('--config <file>', 'configuration file (YAML); `plombe init` writes a commented one')
    .action(async ({ config, ...options }: { config: string }) => (await load())(config, options));
}

export function agentCommand(): Command {
  return programCommand(
    'agent',
    'Takes snapshots beside the equipment, seals them, and sends them.',
    async () => (await import('../device-agent/main.ts')).runAgent,
  ).option('--renew', 'renew the certificates of its devices now, whether or not it is time');
}

export function backendCommand(): Command {
  return programCommand(
    'backend',
    'Verifies, opens and stores snapshots; serves the dashboard.',
    async () => (await import('../backend/main.ts')).runBackend,
  );
}

export function bpmCommand(): Command {
  return programCommand(
    'bpm',
    'Classifies snapshots and runs the maintenance workflows.',
    async () => (await import('../bpm/main.ts')).runBpm,
  );
}

export function registrarCommand(): Command {
  return programCommand(
    'registrar',
    "The vendor's authority at work: certifies devices that ask, publishes what is revoked.",
    async () => (await import('../registrar/main.ts')).runRegistrar,
  );
}
