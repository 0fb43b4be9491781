// RTP in the browser, and the browser's camera as RTP.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { portOf, sdp } from './judges.mjs';
import { Party, sleep, until } from './party.mjs';
import { browser, folder, pipeline } from './stage.mjs';

describe('RTP', () => {
  it('that ffmpeg sends is seen and heard in a browser', async () => {
    const rtp = await pipeline.create('RtpEndpoint');
    const answer = await rtp.processOffer(sdp(
      'm=video 9 RTP/AVP 96', 'a=rtpmap:96 VP8/90000', 'a=sendonly',
      'm=audio 9 RTP/AVP 0', 'a=sendonly'));
    const to = (kind) => `rtp://127.0.0.1:${portOf(answer, kind)}`;
    const ffmpeg = spawn('ffmpeg', ['-v', 'error', '-re', '-f', 'lavfi', '-i', 'testsrc=size=320x240:rate=25',
      '-re', '-f', 'lavfi', '-i', 'sine=frequency=440',
      '-map', '0', '-c:v', 'libvpx', '-deadline', 'realtime', '-cpu-used', '8', '-g', '25', '-payload_type', '96',
      '-cname', 'me', '-f', 'rtp', to('video'),
      '-map', '1', '-c:a', 'pcm_mulaw', '-ar', '8000', '-ac', '1', '-cname', 'me', '-f', 'rtp', to('audio')],
    { stdio: 'ignore' });
    try {
      const one = await Party.open(browser, await pipeline.create('WebRtcEndpoint'));
      await one.join({ receive: ['audio', 'video'], codec: 'VP8' });
      await rtp.connect(one.endpoint);
      await until('the picture is there', async () => (await one.run('framesSince', 0)).count > 25);
      const first = await one.numbers();
      await sleep(3000);
      const then = await one.numbers();
      assert.ok(then.video.framesDecoded > first.video.framesDecoded + 20);
      assert.equal(then.video.codec, 'video/VP8');
      assert.equal(then.video.frameWidth, 320);
      assert.ok(then.audio.totalAudioEnergy > first.audio.totalAudioEnergy, 'the tone is heard');
      await one.close();
      await one.endpoint.release();
      await rtp.release();
    } finally {
      ffmpeg.kill('SIGKILL');
      await once(ffmpeg, 'exit');
    }
  });

  it('of a browser is received by ffmpeg', async () => {
    const one = await Party.open(browser, await pipeline.create('WebRtcEndpoint'));
    await one.join({ send: ['audio', 'video'], codec: 'VP8' });
    const rtp = await pipeline.create('RtpEndpoint');
    const wanted = sdp('m=video 42424 RTP/AVP 96', 'a=rtpmap:96 VP8/90000', 'a=recvonly');
    await rtp.processOffer(wanted);
    const [description, file] = [join(folder, 'in.sdp'), join(folder, 'out.webm')];
    writeFileSync(description, wanted);
    const ffmpeg = spawn('ffmpeg', ['-v', 'error', '-protocol_whitelist', 'file,udp,rtp', '-i', description,
      '-t', '3', '-c', 'copy', file], { stdio: ['ignore', 'ignore', 'inherit'] });
    await one.endpoint.connect(rtp);
    const [status] = await once(ffmpeg, 'exit');
    assert.equal(status, 0);
    const probed = execFileSync('ffprobe', ['-v', 'error', '-count_frames', '-show_streams', '-of', 'json', file]);
    const [stream] = JSON.parse(probed).streams;
    assert.equal(stream.codec_name, 'vp8');
    assert.ok(Number(stream.nb_read_frames) > 20, `${stream.nb_read_frames} frames`);
    await one.close();
    await one.endpoint.release();
    await rtp.release();
  });
});
