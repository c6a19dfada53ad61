#!/usr/bin/env node
'use strict';
var path = require('path');
var fs = require('fs');
// A checkout runs its TypeScript directly; the published package carries only the compiled files.
var source = path.join(__dirname, '..', 'cli', 'main.ts');
var compiled = path.join(__dirname, '..', 'dist', 'cli', 'main.js');
require('./launcher.cjs').launch(fs.existsSync(source) ? source : compiled, process.argv.slice(2));
