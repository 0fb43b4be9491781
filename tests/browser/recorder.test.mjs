// A browser's camera in a file.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { judge } from './judges.mjs';
import { Party, sleep } from './party.mjs';
import { browser, folder, pipeline } from './stage.mjs';

describe('a browser is recorded', () => {
  const cases = [
    ['into WebM as it is', 'WEBM', 'VP8', 'a.webm', ['opus', 'vp8']],
    ['into MP4 as it is', 'MP4', 'H264', 'b.mp4', ['h264', 'opus']],
  ];
  for (const [how, mediaProfile, codec, name, codecs] of cases) {
    it(how, async () => {
      const file = join(folder, name);
      const one = await Party.open(browser, await pipeline.create('WebRtcEndpoint'));
      const recorder = await pipeline.create('RecorderEndpoint', { uri: `file://${file}`, mediaProfile });
      const recording = new Promise((begun) => recorder.on('Recording', begun));
      await one.endpoint.connect(recorder);
      await recorder.record();
      await one.join({ send: ['audio', 'video'], codec });
      await recording;
      await sleep(5000);
      await recorder.stopAndWait();
      const { codecs: found, duration } = judge(file);
      assert.deepEqual(found, codecs);
      assert.ok(duration > 4 && duration < 8, `${duration} s`);
      await one.close();
      await one.endpoint.release();
      await recorder.release();
    });
  }
});
