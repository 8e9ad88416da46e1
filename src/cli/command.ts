import { main } from './main.ts';
import { MISTAKE } from './output.ts';
import { flushOutput, processIo } from './process-io.ts';

const run = async (): Promise<never> => {
  const code = await main(process.argv.slice(2), processIo());
  await flushOutput();
  // An open stdin, or a connection kept for the next request, must not hold the process.
  process.exit(code);
};

/** A command that waits for what never comes would end here, as if all were well. */
process.once('beforeExit', () => {
  process.stderr.write(`loopsy: this command ended before it was done\n  ${MISTAKE}\n`);
  process.exit(1);
});

void run();
