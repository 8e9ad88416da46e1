/** A warning of Node's (a leak of listeners, a deprecation) is a fault: it fails the run. */
process.on('warning', (warning) => {
  if (warning.name === 'ExperimentalWarning') return;
  throw warning;
});
