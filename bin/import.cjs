// Kept apart from the launcher because a Node without dynamic import cannot even parse it.
'use strict';
exports.importScript = function (script) {
  import(require('url').pathToFileURL(script).href).catch(function (error) {
    console.error(error);
    process.exit(1);
  });
};
