// What most tests play on: a media server, Kurento's client, a browser, a pipeline, and a folder for files. Each file of tests runs in a
// process of its own, so each has its own.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { connect } from './party.mjs';
import { startBrowser, startMediaServer } from './start.mjs';

export let kms, client, browser, pipeline, folder;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'kms-test-'));
  kms = await startMediaServer();
  client = await connect(kms.url);
  browser = await startBrowser();
  pipeline = await client.create('MediaPipeline');
});

after(async () => {
  await pipeline?.release();
  client?.close();
  await browser?.close();
  await kms?.stop();
  rmSync(folder, { recursive: true });
});
