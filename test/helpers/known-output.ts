/** What a shell does to write a known sequence that looks random, slowly, on both of its pipes. */
export interface KnownRun {
  /** A line for a shell. */
  readonly line: string;
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

const LINES = 40;

/** @param seed below 2,000,000,000. @param bursts of 40 lines, with `pauseS` seconds after each. */
export const knownRun = (seed: number, bursts: number, pauseS: number): KnownRun => {
  const exitCode = seed % 200;
  let stdout = '';
  let stderr = '';
  let value = (seed % 2_147_483_646) + 1;
  for (let at = 0; at < bursts * LINES; at += 1) {
    value = (value * 16_807) % 2_147_483_647;
    if (value % 3 === 0) stderr += `e ${at} ${value}\n`;
    else stdout += `o ${at} ${value}\n`;
  }
  const line = `v=${(seed % 2_147_483_646) + 1}; n=0
while [ $n -lt ${bursts * LINES} ]; do
  v=$(( (v * 16807) % 2147483647 ))
  if [ $((v % 3)) = 0 ]; then echo "e $n $v" >&2; else echo "o $n $v"; fi
  n=$((n + 1))
  if [ $((n % ${LINES})) = 0 ]; then sleep ${pauseS}; fi
done
exit ${exitCode}`;
  return { line, stdout, stderr, exitCode };
};
