// Runs the tests of this directory, or the files that are named: node tests/browser/run.mjs [FILE...]
//
// One file at a time: they measure frames a second, and each fills the machine. A file that fails is run once more, for what they
// measure is real time of real browsers, and a machine that somebody else is busy on stands still for a second now and then.
// What failed and then passed is listed at the end; what fails twice has failed.
import { readdirSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';

/** No file takes a third of it. One whose preparations failed can keep a browser open, and would never end. */
const LONGEST_MS = 15 * 60_000;

/** Runs files, showing how it goes, and gives the names of what failed, by file. */
async function attempt(files) {
  const failed = new Map();
  const stream = run({ files, concurrency: 1, timeout: LONGEST_MS });
  stream.on('test:fail', ({ name, file, details }) => {
    // A suite fails with its tests: they say more.
    if (details?.type === 'suite') return;
    const path = file ?? files.find((each) => each === name);
    if (path) failed.set(path, [...(failed.get(path) ?? []), name]);
    else process.exitCode = 1; // what can't be run again can't be mended
  });
  const shown = stream.compose(spec);
  shown.pipe(process.stdout, { end: false });
  await new Promise((done) => { shown.on('end', done); });
  return failed;
}

const here = import.meta.dirname;
const named = process.argv.slice(2).map((file) => resolve(file));
const all = () => readdirSync(here).filter((file) => file.endsWith('.test.mjs')).sort().map((file) => resolve(here, file));
const first = await attempt(named.length ? named : all());
const again = first.size ? await attempt([...first.keys()]) : new Map();
for (const [file, names] of first) {
  const outcome = again.has(file) ? 'failed twice' : 'failed, and passed the second time';
  console.log(`${basename(file)}: ${outcome}: ${names.join(', ')}`);
}
if (again.size) process.exitCode = 1;
