#!/usr/bin/env node
// Runs a script of the repository: node bin/run.cjs SCRIPT [ARGUMENT …]
'use strict';
var path = require('path');
require('./launcher.cjs').launch(path.resolve(process.argv[2]), process.argv.slice(3));
